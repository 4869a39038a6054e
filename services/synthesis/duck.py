"""How far the background steps back while the voice speaks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# Heard as "further away", while the background does not seem to be switched off.
DUCKED_DB: Final = -9.0
ATTACK_SECONDS: Final = 0.12
RELEASE_SECONDS: Final = 0.6
# Shorter pauses are part of the sentence: the background does not pump between syllables.
HOLD_SECONDS: Final = 0.3
BLOCKS_PER_SECOND: Final = 100
# 20 dB below the voice's level.
_SPEAKING_POWER: Final = 10 ** (-40 / 10)


class Ducking:
    """Gains for the background, one for each sample of the voice; where the voice is cut changes nothing.

    The voice is judged in whole blocks of 10 ms, and the gain moves in the block that follows: so no
    sample has to wait for the end of its block.
    """

    def __init__(self, rate: int) -> None:
        self._block = rate // BLOCKS_PER_SECOND
        self._uncut = np.zeros(0, np.float32)
        self._db = 0.0
        self._held = 0
        self._ramp = np.ones(self._block, np.float32)

    def gains(self, voice: Samples) -> Samples:
        """From the gains of the block that has begun to those of the one that ends last."""
        begun = len(self._uncut)
        heard = np.concatenate((self._uncut, voice))
        whole = len(heard) // self._block * self._block
        powers = np.mean(np.square(heard[:whole], dtype=np.float64).reshape(-1, self._block), axis=1)
        ramps = [self._ramp, *map(self._follow, powers)]
        self._ramp = ramps[-1]
        self._uncut = heard[whole:]
        return np.concatenate(ramps)[begun : begun + len(voice)]

    def _follow(self, power: float) -> Samples:
        """Gains of the block after the one with this power."""
        speaks = power > _SPEAKING_POWER
        self._held = round(HOLD_SECONDS * BLOCKS_PER_SECOND) if speaks else max(0, self._held - 1)
        before = self._db
        if self._held:
            self._db = max(DUCKED_DB, before + DUCKED_DB / (ATTACK_SECONDS * BLOCKS_PER_SECOND))
        else:
            self._db = min(0.0, before - DUCKED_DB / (RELEASE_SECONDS * BLOCKS_PER_SECOND))
        if self._db == before:
            return np.full(self._block, 10 ** (before / 20), np.float32)
        # A straight line in dB: no step, so no click.
        decibels = np.linspace(before, self._db, self._block, endpoint=False)
        return np.asarray(10 ** (decibels / 20), np.float32)
