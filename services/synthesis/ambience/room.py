"""A quiet room: what a telephone hears in it when nobody speaks."""

from typing import Final

import numpy as np

from services.synthesis.ambience.noise import (
    SEED,
    Loop,
    above,
    below,
    coloured,
    frequencies,
    hump,
    levelled,
    swell,
)

# As loud to the ear as the fan at the same percentage; so are the other sounds.
FULL_VOLUME_DBFS: Final = -25.6


def room_loop(seed: int = SEED) -> Loop:
    """Air that hardly moves, a low resonance of the walls, the microphone's own faint hiss."""
    dice = np.random.default_rng(seed)
    hz = frequencies()
    walls = 1 + 1.2 * hump(hz, 130, 0.25) + 0.6 * hump(hz, 310, 0.3)
    air = coloured(dice, above(hz, 60) * walls / (1 + hz / 160) * below(hz, 5000))
    hiss = coloured(dice, above(hz, 1500) * below(hz, 12_000))
    breath = 1 + 0.02 * swell(dice, (1, 2, 3, 5))
    return levelled(air * breath + 0.04 * hiss, FULL_VOLUME_DBFS)
