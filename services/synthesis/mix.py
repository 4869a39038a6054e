"""Voice over a background that loops, at 44.1 kHz.

The background is under everything, also under the rooms before and after the voice, in which it
fades. So the end needs no look-ahead: the fade begins when the voice is over.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE: Final = 44_100
LEAD_IN_SAMPLES: Final = RATE * 15 // 100
LEAD_OUT_SAMPLES: Final = RATE * 30 // 100
# Below the knee nothing is touched. A voice at its level stays below it even at its peaks.
KNEE: Final = 0.8
_CEILING: Final = 0.98


class Mixer:
    """Mixes blocks in order; where a block begins and ends changes nothing."""

    def __init__(self, loop: Samples, volume_percent: int) -> None:
        self._loop = loop
        self._volume = np.float32(volume_percent / 100)
        self._at = 0

    def under(self, voice: Samples) -> Samples:
        """The voice over the background, which fades in over the lead-in."""
        background = self._next(len(voice))
        rising = np.arange(self._at, min(self._at + len(voice), LEAD_IN_SAMPLES))
        background[: len(rising)] *= _raised_cosine(rising / LEAD_IN_SAMPLES)
        self._at += len(voice)
        return limited(voice + background)

    def ending(self) -> Samples:
        """The lead-out: the background alone, fading."""
        falling = np.arange(LEAD_OUT_SAMPLES, 0, -1)
        return limited(self._next(LEAD_OUT_SAMPLES) * _raised_cosine(falling / LEAD_OUT_SAMPLES))

    def _next(self, samples: int) -> Samples:
        """The background from here on, as a copy."""
        if not self._volume:
            return np.zeros(samples, np.float32)
        start = self._at % len(self._loop)
        turns = -(-(start + samples) // len(self._loop))
        ahead = self._loop if turns == 1 else np.tile(self._loop, turns)
        return ahead[start : start + samples] * self._volume


def limited(samples: Samples) -> Samples:
    """Bend peaks above the knee so that they never reach full scale; the rest stays as it is."""
    over = np.abs(samples) > KNEE
    if not over.any():
        return samples
    room = _CEILING - KNEE
    bent = KNEE + room * np.tanh((np.abs(samples) - KNEE) / room)
    return np.where(over, np.copysign(bent, samples), samples).astype(np.float32)


def _raised_cosine(progress: NDArray[np.float64]) -> Samples:
    """0 at 0, 1 at 1, level at both ends."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * progress), np.float32)
