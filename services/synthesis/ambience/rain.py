"""Steady rain outside: a shower, and drops on something near."""

from typing import Final

import numpy as np

from services.synthesis.ambience.noise import (
    LOOP_SAMPLES,
    SEED,
    Floats,
    Loop,
    above,
    below,
    coloured,
    frequencies,
    levelled,
    rms,
    swell,
)
from services.synthesis.mix import RATE

FULL_VOLUME_DBFS: Final = -28.1
_DROPS_PER_SECOND: Final = 90
# Small drops ring higher and shorter: hertz, and seconds until hardly heard.
_DROPS: Final = ((1400.0, 0.012), (2300.0, 0.009), (3400.0, 0.006), (5200.0, 0.004))


def rain_loop(seed: int = SEED) -> Loop:
    dice = np.random.default_rng(seed)
    hz = frequencies()
    shower = coloured(dice, above(hz, 500) / (1 + hz / 2200) * below(hz, 9000))
    ground = coloured(dice, above(hz, 120) * below(hz, 700))
    patter = sum((_patter(dice, pitch, seconds) for pitch, seconds in _DROPS), np.zeros(LOOP_SAMPLES))
    wind = 1 + 0.05 * swell(dice, (1, 2, 3, 5, 8))
    sound = shower / rms(shower) * wind + 0.35 * ground / rms(ground) + 0.45 * patter / rms(patter)
    return levelled(sound, FULL_VOLUME_DBFS)


def _patter(dice: np.random.Generator, pitch: float, seconds: float) -> Floats:
    """Drops of one size. A drop at the end of the loop rings on at its beginning: the filter is circular."""
    hits = np.zeros(LOOP_SAMPLES)
    count = _DROPS_PER_SECOND * LOOP_SAMPLES // RATE // len(_DROPS)
    # Most are weak, a few are strong; but none so strong that it would be noticed when it comes again.
    np.add.at(hits, dice.integers(0, LOOP_SAMPLES, count), dice.uniform(0.2, 1, count) ** 2)
    times = np.arange(LOOP_SAMPLES) / RATE
    ring = np.exp(-4.6 * times / seconds) * np.sin(2 * np.pi * pitch * times)
    return np.fft.irfft(np.fft.rfft(hits) * np.fft.rfft(ring), LOOP_SAMPLES)
