"""Voice over a background that loops, at whatever rate the listener gets.

The background is under everything, also under the rooms before and after the voice, in which it
fades. So the end needs no look-ahead: the fade begins when the voice is over.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.duck import Ducking

Samples = NDArray[np.float32]

# What memos are mixed at, unless their listener asks for something else.
RATE: Final = 44_100
# Below the knee nothing is touched. A voice at its level stays below it even at its peaks.
KNEE: Final = 0.8
_CEILING: Final = 0.98


def lead_in(rate: int) -> int:
    """Samples of room before the voice."""
    return rate * 15 // 100


def lead_out(rate: int) -> int:
    """Samples of room after the voice."""
    return rate * 30 // 100


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A loop at the rate of the mix, and how it lies under the voice."""

    loop: Samples
    volume_percent: int
    ducking: bool = False


class Mixer:
    """Mixes blocks in order; where a block begins and ends changes nothing."""

    def __init__(self, backdrop: Backdrop, rate: int = RATE) -> None:
        self._loop = backdrop.loop
        self._volume = np.float32(backdrop.volume_percent / 100)
        self._ducking = Ducking(rate) if backdrop.ducking else None
        self._lead_in = lead_in(rate)
        self._lead_out = lead_out(rate)
        self._at = 0

    def under(self, voice: Samples) -> Samples:
        """The voice over the background, which fades in over the lead-in."""
        background = self._next(voice)
        rising = np.arange(self._at, min(self._at + len(voice), self._lead_in))
        background[: len(rising)] *= _raised_cosine(rising / self._lead_in)
        self._at += len(voice)
        return limited(voice + background)

    def ending(self) -> Samples:
        """The lead-out: the background alone, fading."""
        falling = np.arange(self._lead_out, 0, -1)
        background = self._next(np.zeros(self._lead_out, np.float32))
        return limited(background * _raised_cosine(falling / self._lead_out))

    def _next(self, voice: Samples) -> Samples:
        """The background under this part of the voice, as a copy."""
        if not self._volume:
            return np.zeros(len(voice), np.float32)
        start = self._at % len(self._loop)
        turns = -(-(start + len(voice)) // len(self._loop))
        ahead = self._loop if turns <= 1 else np.tile(self._loop, turns)
        background = ahead[start : start + len(voice)] * self._volume
        if self._ducking is not None:
            background *= self._ducking.gains(voice)
        return background


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
