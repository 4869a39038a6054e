"""Enrol a sample and speak in it: the pieces of the engine put together, in one process, without queues."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import soxr

from services.synthesis.domain import VoiceNotEnrolled
from services.synthesis.engines.local import profile as profiles
from services.synthesis.engines.local.kokoro import MOST_PHONEMES, Kokoro, Pitch
from services.synthesis.engines.local.profile import Profile
from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.seams import fitted
from services.synthesis.engines.local.speaker import SpeakerEncoder
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Analysis, Floats, analyse
from services.synthesis.engines.local.styles import (
    KnownVoices,
    PitchHabit,
    StyleVectors,
    native_voice,
    prosody_voice,
)
from services.synthesis.engines.local.timbre import exemplars_of, transfer

# Fewer voiced frames than this are no voice to follow: one second.
_FEWEST_VOICED_FRAMES: Final = 100
# Farther than this and the model's melody breaks up rather than follows.
_FARTHEST_SHIFT: Final = np.log(2) * 8 / 12
_RANGE_LIMITS: Final = (0.75, 1.3)
# The usual request for similarity, 0.75, gives strength 0.8: more adds little likeness and costs words.
_STRENGTH_PER_SIMILARITY: Final = 0.8 / 0.75
_CACHED_PROFILES: Final = 16
# English last: it is what the model warms up with, and twice as long a run makes it no warmer.
_WARMING: Final = {"es": "Una vez más.", "en": "One more time, please, from the start."}


@dataclass(frozen=True, slots=True)
class Line:
    """One clause and how to say it. `language` is a lower-case BCP 47 tag."""

    text: str
    language: str
    speed: float = 1.0
    similarity: float = 0.75
    pause_seconds: float = 0.0


class VoiceBox:
    """Owns the models. Not shared between threads."""

    def __init__(self, threads: int) -> None:
        self._styles = StyleVectors()
        self._known = KnownVoices()
        self._encoder = SpeakerEncoder(threads)
        self._kokoro = Kokoro(threads)
        self._profile = lru_cache(maxsize=_CACHED_PROFILES)(profiles.unpack)

    def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        """The same sample always gives the same profile. Raises VoiceNotEnrolled without a voice in it."""
        sample = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
        if not np.any(sample):
            raise VoiceNotEnrolled("The sample is silent.")
        signal = np.asarray(soxr.resample(sample, sample_rate, SAMPLE_RATE), dtype=np.float32)
        analysis = analyse(signal)
        if analysis.voiced.sum() < _FEWEST_VOICED_FRAMES:
            raise VoiceNotEnrolled("The sample holds too little speech.")
        embedding = self.embed(signal)
        return profiles.pack(
            Profile(
                nearest_voice=self._known.nearest(embedding),
                pitch=pitch_habit(analysis),
                embedding=embedding,
                exemplars=exemplars_of(analysis),
            )
        )

    def speak(self, packed_profile: bytes, line: Line) -> bytes:
        """One clause as 16-bit PCM; empty when nothing in it can be spoken."""
        voice = self._profile(packed_profile)
        phonemes = within_limit(phonemes_of(line.text, line.language))
        if not phonemes:
            return b""
        speech = np.concatenate([self._converted(voice, piece, line) for piece in phonemes])
        return fitted(speech, line.pause_seconds / line.speed)

    def warm_up(self) -> None:
        """Let every dictionary, kernel and buffer be made before somebody waits for it."""
        for language, text in _WARMING.items():
            phonemes = phonemes_of(text, language)
        speech = self.speak_as_model(phonemes, native_voice("en", "f"))
        self.embed(speech)
        transfer(speech, exemplars_of(analyse(speech)), strength=1.0)

    def speak_as_model(self, phonemes: str, voice: str) -> Floats:
        """One of the model's own voices, unconverted: what an adapted voice is compared with."""
        style = self._styles.style(voice, voice, len(phonemes))
        return self._kokoro.speak(phonemes, style, speed=1.0, pitch=Pitch())

    def embed(self, signal: Floats) -> Floats:
        """Who is speaking in 24 kHz audio; compare with `likeness`."""
        return self._encoder.embed(signal, SAMPLE_RATE)

    def _converted(self, voice: Profile, phonemes: str, line: Line) -> Floats:
        prosody = prosody_voice(voice.nearest_voice, line.language[:2])
        style = self._styles.style(voice.nearest_voice, prosody, len(phonemes))
        pitch = pitch_change(self._known.pitch_habit(prosody), voice.pitch)
        speech = self._kokoro.speak(phonemes, style, line.speed, pitch)
        return transfer(speech, voice.exemplars, _STRENGTH_PER_SIMILARITY * line.similarity)


def pitch_habit(analysis: Analysis) -> PitchHabit:
    """Frames far from the median are octave errors of the tracker, not the speaker's melody."""
    log_hz = np.log(analysis.pitch_hz[analysis.voiced])
    usual = log_hz[np.abs(log_hz - np.median(log_hz)) < 0.5]
    return PitchHabit(float(usual.mean()), float(usual.std()))


def pitch_change(model: PitchHabit, speaker: PitchHabit) -> Pitch:
    """Carries the model's mean and spread of log pitch to the speaker's, as far as sounds natural."""
    stretch = float(np.clip(speaker.spread / max(model.spread, 0.02), *_RANGE_LIMITS))
    shift = float(np.clip(speaker.mean - model.mean, -_FARTHEST_SHIFT, _FARTHEST_SHIFT))
    # log f' = stretch * (log f - model mean) + model mean + shift
    return Pitch(scale=float(np.exp(model.mean + shift - stretch * model.mean)), range=stretch)


def within_limit(phonemes: str) -> list[str]:
    """The phonemes in pieces that the model can speak, cut between words where there are any."""
    pieces: list[str] = []
    rest = phonemes.strip()
    while len(rest) > MOST_PHONEMES:
        cut = rest.rfind(" ", 0, MOST_PHONEMES)
        cut = cut if cut > 0 else MOST_PHONEMES
        pieces.append(rest[:cut])
        rest = rest[cut:].strip()
    return [*pieces, rest] if rest else pieces
