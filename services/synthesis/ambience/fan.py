"""A fan with three blades, from noise and sines."""

from typing import Final

import numpy as np

from services.synthesis.ambience.noise import (
    LOOP_SAMPLES,
    SEED,
    Floats,
    Loop,
    above,
    coloured,
    frequencies,
    hump,
    levelled,
    rms,
    swell,
    turn,
)
from services.synthesis.mix import RATE

# At 100 percent, 6 dB below the voice; at the usual 30 percent, 16 dB below.
FULL_VOLUME_DBFS: Final = -26.0
# Three blades at 1140 turns a minute.
_BLADE_HZ: Final = 57.0


def fan_loop(seed: int = SEED) -> Loop:
    """One seamless loop at FULL_VOLUME_DBFS; the same seed gives the same samples."""
    dice = np.random.default_rng(seed)
    air = _air(dice) * _breath(dice)
    return levelled(air / rms(air) + 0.25 * _blades(dice), FULL_VOLUME_DBFS)


def _air(dice: np.random.Generator) -> Floats:
    """Moving air: no rumble, a broad hump, then a gentle fall to the treble."""
    hz = frequencies()
    shape = above(hz, 90) / (1 + hz / 450) / (1 + (hz / 7000) ** 2)
    for centre, gain in ((240, 0.9), (950, 0.6)):
        shape *= 1 + gain * hump(hz, centre, 0.35)
    return coloured(dice, shape)


def _breath(dice: np.random.Generator) -> Floats:
    """Slow breathing of the stream, and the faint flutter of each passing blade."""
    slow = swell(dice, (1, 2, 3, 5, 7, 11))
    flutter = np.cos(_whole_cycles(_BLADE_HZ) * turn())
    return np.asarray(1 + 0.05 * slow + 0.05 * flutter)


def _blades(dice: np.random.Generator) -> Floats:
    """The hum of the blades and its overtones, each drifting a little in pitch."""
    angle = turn()
    hum = np.zeros(LOOP_SAMPLES)
    for overtone in range(1, 6):
        drift = 0.6 * np.cos((overtone + 1) * angle + dice.uniform(0, 2 * np.pi))
        hum += np.cos(overtone * _whole_cycles(_BLADE_HZ) * angle + drift) / overtone
    return hum


def _whole_cycles(hz: float) -> int:
    return round(hz * LOOP_SAMPLES / RATE)
