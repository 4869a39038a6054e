"""The models, and what they are asked for; used by one thread at a time.

A profile holds what the codec makes of a sample: 12.5 frames of 32 numbers a second, for each language's own
codec. The state that the language model makes of it is 200 times as large and takes one pass over it, so
it is made when a voice first speaks, and kept in memory only: nothing of a voice outlives its process here.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from typing import Any, Final

import numpy as np
import soxr

from services.synthesis.domain import EngineUnavailable, VoiceNotEnrolled
from services.synthesis.engines.pocket.settings import CONFIGURATIONS, PocketSettings

# What the model was trained to continue; more of a sample adds nothing.
_LONGEST_SAMPLE_SECONDS: Final = 30
_FORMAT: Final = "newvisions-pocket/1"
_WARMING: Final = "One more time, please."


class Voicebox:
    """Loads the models. Raises EngineUnavailable, which says in one line what is missing."""

    def __init__(self, settings: PocketSettings) -> None:
        # By name: what is optional is looked for when it is wanted.
        self._torch = import_module("torch")
        self._tensors = import_module("safetensors.torch")
        self._states = import_module("pocket_tts.modules.stateful_module")
        self._torch.set_num_threads(settings.threads)
        self._models = {language: _loaded(language, settings) for language in settings.languages}
        self._makers = {language: self._maker(model) for language, model in self._models.items()}
        self._state = lru_cache(maxsize=settings.voices)(self._new_state)
        if len({model.sample_rate for model in self._models.values()}) > 1:
            raise EngineUnavailable("The models do not speak at the same rate.")

    @property
    def sample_rate(self) -> int:
        rate: int = next(iter(self._models.values())).sample_rate
        return rate

    def warm_up(self) -> None:
        """Let every buffer be made before somebody waits for it."""
        noise = np.random.default_rng(0).normal(0, 3000, self.sample_rate).astype("<i2").tobytes()
        profile = self.enrol(noise, self.sample_rate)
        for language in self._models:
            for _ in self.speak(profile, language, _WARMING, threading.Event()):
                pass
        self._state.cache_clear()

    def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        """The same sample always gives the same profile. Raises VoiceNotEnrolled for silence."""
        sample = np.frombuffer(pcm, dtype="<i2")[: _LONGEST_SAMPLE_SECONDS * sample_rate] / np.float32(32768)
        if not np.any(sample):
            raise VoiceNotEnrolled("The sample is silent.")
        speech = np.asarray(soxr.resample(sample, sample_rate, self.sample_rate), dtype=np.float32)
        latents = {language: self._latents(model, speech) for language, model in self._models.items()}
        # One entry, because the order of several is another each time.
        packed: bytes = self._tensors.save(latents, {_FORMAT: json.dumps(self._makers)})
        return packed

    def speak(self, profile: bytes, language: str, text: str, stop: threading.Event) -> Iterator[bytes]:
        """16-bit PCM as it is made, until `stop` is set. The same words take the same time."""
        if stop.is_set():
            return
        model = self._models[language]
        state = self._state(profile, language)
        # The noise that the speech grows from; without a seed each reading would be another.
        self._torch.manual_seed(int.from_bytes(sha256(profile + text.encode()).digest()[:8], "big"))
        for samples in model.generate_audio_stream(state, text, stop=stop):
            # Heard to its end, which then comes soon: its own threads must not meet the next one's.
            if not stop.is_set():
                yield (samples.clamp(-1, 1) * 32767).short().numpy().astype("<i2").tobytes()

    def _latents(self, model: Any, speech: Any) -> Any:
        audio = self._torch.from_numpy(speech)[None]
        prompt = import_module("pocket_tts.data.audio_utils").end_on_pause(audio, model.sample_rate)
        with self._torch.no_grad():
            return model.mimi.encode_to_latent(prompt[None]).to(self._torch.float32).contiguous()

    def _new_state(self, profile: bytes, language: str) -> Any:
        """What the language model remembers of having heard the voice."""
        latents, model = self._unpacked(profile, language), self._models[language]
        with self._torch.no_grad():
            prompt = self._torch.nn.functional.linear(latents, model.flow_lm.speaker_proj_weight)
            if model.flow_lm.insert_bos_before_voice:
                prompt = self._torch.cat([model.flow_lm.bos_before_voice, prompt], dim=1)
            state = self._states.init_states(model.flow_lm, batch_size=1, sequence_length=prompt.shape[1])
            model._run_flow_lm_and_increment_step(model_state=state, audio_conditioning=prompt)
        return state

    def _unpacked(self, profile: bytes, language: str) -> Any:
        """Raises VoiceNotEnrolled for what these models did not make."""
        errors = import_module("safetensors").SafetensorError
        try:
            latents = self._tensors.load(profile)
            makers = _makers(profile)
        except (errors, ValueError, KeyError) as error:
            raise VoiceNotEnrolled("This voice has to be learnt again.") from error
        if makers.get(language) != self._makers[language]:
            raise VoiceNotEnrolled("This voice has to be learnt again.")
        return latents[language]

    def _maker(self, model: Any) -> str:
        """Tells weights apart: a voice is only good for the model that heard it."""
        return sha256(model.flow_lm.speaker_proj_weight.detach().numpy().tobytes()).hexdigest()[:16]


def _makers(profile: bytes) -> Mapping[str, str]:
    """Which models heard the voice. As the format has it: eight bytes of length, then JSON."""
    length = int.from_bytes(profile[:8], "little")
    makers = json.loads(json.loads(profile[8 : 8 + length])["__metadata__"][_FORMAT])
    return makers if isinstance(makers, dict) else {}


def _loaded(language: str, settings: PocketSettings) -> Any:
    own = settings.configuration(language)
    which = {"config": own} if own else {"language": CONFIGURATIONS[language]}
    try:
        model = import_module("pocket_tts").TTSModel.load_model(**which, quantize=settings.quantize)
    # Files, networks, YAML and weights fail in as many ways as there are libraries for them.
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise EngineUnavailable(f"the model for {language!r} cannot be loaded: {cause}") from error
    if not model.has_voice_cloning:
        raise EngineUnavailable(
            f"the weights for {language!r} cannot clone voices: accept their terms where they are kept and "
            "set HF_TOKEN, or name weights of your own in SYNTHESIS_POCKET_CONFIG_DIR"
        )
    model.eval()
    return model
