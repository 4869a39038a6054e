"""The picture of a recording: 64 values as loud as they sound."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

VALUES: Final = 64
# The loudest vowels of a voice at its level; they fill the picture.
_FULL_DBFS: Final = -14.0
_MOST_BINS: Final = 2048


class Waveform:
    """Keeps energy in bins that double in length when there are too many: memory stays flat."""

    def __init__(self) -> None:
        self._bin = 64
        self._energies: list[float] = []
        self._rest = np.zeros(0, np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        joined = np.concatenate((self._rest, samples))
        whole = len(joined) // self._bin * self._bin
        self._rest = joined[whole:]
        squares = np.square(joined[:whole], dtype=np.float64).reshape(-1, self._bin)
        self._energies += squares.sum(axis=1).tolist()
        while len(self._energies) > _MOST_BINS:
            self._halve()

    def values(self) -> tuple[int, ...]:
        """Loudness doubles with every 10 dB (Stevens' law), so twice as loud is twice as high."""
        spans = self._spans()
        loudness = 10 ** ((10 * np.log10(spans + 1e-12) - _FULL_DBFS) / 10 * np.log10(2))
        return tuple(int(value) for value in np.clip(np.round(100 * loudness), 0, 100))

    def _spans(self) -> NDArray[np.float64]:
        """Mean power of 64 equal parts of all that was added."""
        energies = [*self._energies, float(np.square(self._rest, dtype=np.float64).sum())]
        length = len(self._energies) * self._bin + len(self._rest)
        if not length:
            return np.zeros(VALUES)
        ends = np.append(np.arange(len(self._energies) + 1) * self._bin, length)
        total = np.concatenate(([0.0], np.cumsum(energies)))
        cuts = np.linspace(0, length, VALUES + 1)
        return np.diff(np.interp(cuts, ends, total)) / (length / VALUES)

    def _halve(self) -> None:
        """Two bins become one. A last bin without a neighbour waits for it as unsorted samples."""
        if len(self._energies) % 2:
            lone = self._energies.pop()
            steady = np.full(self._bin, np.sqrt(lone / self._bin), np.float32)
            self._rest = np.concatenate((steady, self._rest))
        pairs = np.asarray(self._energies).reshape(-1, 2)
        self._energies = pairs.sum(axis=1).tolist()
        self._bin *= 2
