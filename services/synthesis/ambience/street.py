"""A street below the window: a city far away, and cars that pass."""

from typing import Final

import numpy as np

from services.synthesis.ambience.noise import (
    SEED,
    Floats,
    Loop,
    above,
    below,
    coloured,
    frequencies,
    hump,
    levelled,
    rms,
    swell,
    turn,
)

FULL_VOLUME_DBFS: Final = -25.6
# When a car is nearest, as a share of the loop; how near it comes; how long it is heard, in loops.
_CARS: Final = ((0.14, 1.0, 0.07), (0.43, 0.7, 0.09), (0.71, 0.85, 0.06), (0.93, 0.5, 0.08))


def street_loop(seed: int = SEED) -> Loop:
    """One seamless loop: a car that passes at its end is still heard at its beginning."""
    dice = np.random.default_rng(seed)
    hz = frequencies()
    city = coloured(dice, above(hz, 50) / (1 + hz / 220) * below(hz, 3500))
    engines = coloured(dice, above(hz, 70) * (1 + hump(hz, 110, 0.3)) / (1 + hz / 300) * below(hz, 2500))
    tyres = coloured(dice, above(hz, 350) * hump(hz, 900, 0.7) * below(hz, 6000))
    sound = city / rms(city) * (1 + 0.06 * swell(dice, (1, 2, 3, 5)))
    for at, nearness, length in _CARS:
        passing = _passing(at, length)
        sound += 0.55 * nearness * passing * engines / rms(engines)
        # Tyres are heard only from near.
        sound += 0.35 * nearness * passing**2 * tyres / rms(tyres)
    return levelled(sound, FULL_VOLUME_DBFS)


def _passing(at: float, length: float) -> Floats:
    """Comes and goes; 1 at its nearest. The distance is measured round the loop."""
    away = np.angle(np.exp(1j * (turn() - 2 * np.pi * at))) / (2 * np.pi)
    return np.asarray(1 / (1 + (away / length) ** 2))
