"""The 54 voices that the model knows, as style vectors, and which of them a sample is nearest to."""

import importlib.resources
from dataclasses import dataclass
from functools import cached_property
from typing import Final

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


@dataclass(frozen=True, slots=True)
class PitchHabit:
    """Mean and spread of the natural logarithm of the pitch in Hz, over voiced frames."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Styles:
    names: tuple[str, ...]
    # Style vectors at a few text lengths, in tokens; between two of them they are interpolated.
    knots: Floats
    vectors: Floats
    # One row for each voice, measured once by `describe_voices`.
    embeddings: Floats
    pitch_habits: tuple[PitchHabit, ...]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def nearest(self, embedding: Floats) -> str:
        return self.names[int((self.embeddings @ embedding).argmax())]

    def prosody_voice(self, voice: str, language: str) -> str:
        """The voice whose melody `voice` speaks this language with: its own where it is native."""
        if voice[0] in _NATIVE_INITIALS[language]:
            return voice
        return _NATIVE_VOICES[language, voice[1]]

    def pitch_habit(self, voice: str) -> PitchHabit:
        return self.pitch_habits[self._index[voice]]

    def style(self, timbre_voice: str, prosody_voice: str, phonemes: int) -> Floats:
        timbre = self._at_length(timbre_voice, phonemes)[:_TIMBRE]
        prosody = self._at_length(prosody_voice, phonemes)[_TIMBRE:]
        return np.concatenate([timbre, prosody])

    def _at_length(self, voice: str, phonemes: int) -> Floats:
        knots, vectors = self.knots, self.vectors[self._index[voice]]
        right = int(np.clip(np.searchsorted(knots, phonemes), 1, len(knots) - 1))
        left = right - 1
        share = float(np.clip((phonemes - knots[left]) / (knots[right] - knots[left]), 0, 1))
        return np.asarray(vectors[left] * (1 - share) + vectors[right] * share, dtype=np.float32)


def load_styles() -> Styles:
    published, measured = _arrays("styles.npz"), _arrays("voices.npz")
    names = tuple(str(name) for name in published["names"])
    if names != tuple(str(name) for name in measured["names"]):
        raise ValueError("voices.npz was measured on other styles; run describe_voices again")
    return Styles(
        names=names,
        knots=published["knots"].astype(np.float32),
        vectors=published["x"].astype(np.float32),
        embeddings=measured["embeddings"].astype(np.float32),
        pitch_habits=tuple(PitchHabit(float(mean), float(spread)) for mean, spread in measured["pitch"]),
    )


def _arrays(name: str) -> dict[str, NDArray[np.generic]]:
    path = importlib.resources.files(__package__) / "data" / name
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)
