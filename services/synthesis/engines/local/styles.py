"""The 54 voices that the model knows: their style vectors, and which of them a sample is nearest to."""

import importlib.resources
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.engines.local.spectrum import Floats

# The first half of a style vector is timbre, the second is prosody: melody, rhythm and so the accent.
_TIMBRE: Final = 128
_NATIVE_INITIALS: Final = {"en": "ab", "es": "e"}
# The best-rated voice of each language and sex; its melody is lent to voices that are not native.
_NATIVE_VOICES: Final = {
    ("en", "f"): "af_heart",
    ("en", "m"): "am_michael",
    ("es", "f"): "ef_dora",
    ("es", "m"): "em_alex",
}


def native_voice(language: str, sex: str) -> str:
    return _NATIVE_VOICES[language, sex]


def prosody_voice(voice: str, language: str) -> str:
    """The voice whose melody `voice` speaks this language with: its own where it is native.

    A voice's name starts with its language's initial and its sex: "ef_dora".
    """
    return voice if voice[0] in _NATIVE_INITIALS[language] else native_voice(language, voice[1])


class StyleVectors:
    """As published, at a few text lengths; between two of them they are interpolated."""

    def __init__(self) -> None:
        published = _arrays("styles.npz")
        self.names = tuple(str(name) for name in published["names"])
        self._knots = published["knots"].astype(np.float32)
        self._vectors = published["x"].astype(np.float32)

    def style(self, timbre_voice: str, prosody_voice: str, phonemes: int) -> Floats:
        timbre = self._at_length(timbre_voice, phonemes)[:_TIMBRE]
        prosody = self._at_length(prosody_voice, phonemes)[_TIMBRE:]
        return np.concatenate([timbre, prosody])

    def _at_length(self, voice: str, phonemes: int) -> Floats:
        knots, vectors = self._knots, self._vectors[self.names.index(voice)]
        right = int(np.clip(np.searchsorted(knots, phonemes), 1, len(knots) - 1))
        left = right - 1
        share = float(np.clip((phonemes - knots[left]) / (knots[right] - knots[left]), 0, 1))
        return np.asarray(vectors[left] * (1 - share) + vectors[right] * share, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class PitchHabit:
    """Mean and spread of the natural logarithm of the pitch in Hz, over voiced frames."""

    mean: float
    spread: float


class KnownVoices:
    """What `describe_voices` measured on each style."""

    def __init__(self) -> None:
        measured = _arrays("voices.npz")
        self.names = tuple(str(name) for name in measured["names"])
        self.embeddings = measured["embeddings"].astype(np.float32)
        self._pitch = measured["pitch"].astype(np.float32)

    def nearest(self, embedding: Floats) -> str:
        return self.names[int((self.embeddings @ embedding).argmax())]

    def pitch_habit(self, voice: str) -> PitchHabit:
        mean, spread = self._pitch[self.names.index(voice)]
        return PitchHabit(float(mean), float(spread))


def _arrays(name: str) -> dict[str, NDArray[Any]]:
    path = importlib.resources.files(__package__) / "data" / name
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)
