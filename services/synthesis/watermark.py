"""A mark in the sound itself: its spectrum rises and falls by less than a decibel, in a known pattern.

The pattern is a field of 64 x 32 signs: cells of 40 ms by 100 Hz, between 400 and 3600 Hz, again and again.
Loud or soft, speech changes by a few decibels from cell to cell, but not in that pattern: over some seconds
the pattern stands out of it, also after mp3, opus or aac, over a background, or when the beginning is
cut off. Somebody who knows the pattern can take it out again, so it proves presence and never absence.

Named by SYNTHESIS_WATERMARK as services.synthesis.watermark:RippleWatermark.
"""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Floats = NDArray[np.float64]

# Listeners notice a change in one band from about 1 dB on.
_RIPPLE_DB: Final = 0.8
_HOPS_PER_SECOND: Final = 50
_HOPS_PER_CELL: Final = 2
_ROWS: Final = 64
_LOWEST_HZ, _HIGHEST_HZ, _BAND_HZ = 400, 3600, 100
_BANDS: Final = (_HIGHEST_HZ - _LOWEST_HZ) // _BAND_HZ
_SEED: Final = 20_260_102

# Any rate would do that has the band; every memo is looked at in the same one.
_EXAMINED_RATE: Final = 16_000
# In standard deviations. Speech without the mark stays below 7 at the best of 640 alignments; 5 s of
# speech with it reach 11 and more.
FOUND_AT: Final = 9.0
_SHIFTS_PER_HOP: Final = 5
# Cells this far below the mean are silence, in which the codec and not the mark decides.
_SILENT: Final = 1e-3
_MOST_DB: Final = 12.0


class RippleWatermark:
    name = "ripple"

    def begin(self, sample_rate: int) -> "Ripples":
        return Ripples(sample_rate)

    def found(self, samples: Samples, sample_rate: int) -> bool:
        return strength(samples, sample_rate) >= FOUND_AT


class Ripples:
    """Overlapping frames of 40 ms, each with the gains of its row; without gains they would add up again."""

    def __init__(self, sample_rate: int) -> None:
        self._hop = sample_rate // _HOPS_PER_SECOND
        self._window = _window(self._hop)
        self._gains = _gains(self._hop, sample_rate)
        self._frames = 0
        self._owed = 0
        # Half a frame of nothing lies before the first sample, and is not handed out again.
        self._heard = np.zeros(self._hop)
        self._half = np.zeros(self._hop)
        self._before = self._hop

    def add(self, samples: Samples) -> Samples:
        self._owed += len(samples)
        self._heard = np.concatenate((self._heard, samples))
        hops = [self._hop_from(at) for at in range(0, len(self._heard) - 2 * self._hop + 1, self._hop)]
        self._heard = self._heard[len(hops) * self._hop :]
        made = np.concatenate(hops) if hops else np.zeros(0)
        skipped = min(self._before, len(made))
        self._before -= skipped
        self._owed -= len(made) - skipped
        return made[skipped:].astype(np.float32)

    def finish(self) -> Samples:
        owed = self._owed
        return self.add(np.zeros(3 * self._hop, np.float32))[:owed]

    def _hop_from(self, at: int) -> Floats:
        """The first half of this frame over the second half of the one before."""
        frame = self._heard[at : at + 2 * self._hop] * self._window
        gains = self._gains[self._frames // _HOPS_PER_CELL % _ROWS]
        made = np.fft.irfft(np.fft.rfft(frame) * gains, 2 * self._hop) * self._window
        whole = self._half + made[: self._hop]
        self._half = made[self._hop :]
        self._frames += 1
        return whole


def strength(samples: Samples, sample_rate: int) -> float:
    """How far the pattern stands out of the sound at its best alignment, in standard deviations."""
    sound = soxr.resample(samples.astype(np.float64), sample_rate, _EXAMINED_RATE)
    hop = _EXAMINED_RATE // _HOPS_PER_SECOND
    shifts = range(0, _HOPS_PER_CELL * hop, hop // _SHIFTS_PER_HOP)
    return max((_stands_out(_cells(sound[shift:], hop)) for shift in shifts), default=0.0)


def _cells(sound: Floats, hop: int) -> Floats:
    """The power in each cell: rows of time, columns of bands."""
    frames = (len(sound) // hop - 1) // _HOPS_PER_CELL * _HOPS_PER_CELL
    if frames <= 0:
        return np.zeros((0, _BANDS))
    windows = np.lib.stride_tricks.sliding_window_view(sound, 2 * hop)[::hop][:frames] * _window(hop)
    power = np.abs(np.fft.rfft(windows, axis=1)) ** 2
    bin_hz = _EXAMINED_RATE // (2 * hop)
    bands = power[:, _LOWEST_HZ // bin_hz : _HIGHEST_HZ // bin_hz].reshape(frames, _BANDS, -1).sum(axis=2)
    return np.asarray(bands.reshape(-1, _HOPS_PER_CELL, _BANDS).sum(axis=1))


def _stands_out(cells: Floats) -> float:
    if len(cells) < 3:
        return 0.0
    loudness = cells.sum(axis=1)
    edges = np.clip(_beside_neighbours(10 * np.log10(cells + 1e-12)), -_MOST_DB, _MOST_DB)
    edges[loudness <= _SILENT * loudness.mean()] = 0
    edges -= edges.mean(axis=0)
    spread = np.sqrt(np.square(edges).sum())
    if not spread:
        return 0.0
    folded = np.stack([edges[row::_ROWS].sum(axis=0) for row in range(_ROWS)])
    pattern = _beside_neighbours(_pattern())
    # All starting rows at once.
    spectra = np.fft.fft(folded, axis=0) * np.conj(np.fft.fft(pattern, axis=0))
    alike = np.fft.ifft(spectra.sum(axis=1)).real
    return float(alike.max() / (spread * np.sqrt(np.square(pattern).mean())))


def _beside_neighbours(cells: Floats) -> Floats:
    """What a cell has more than those before, after, below and above it: speech is like its neighbours."""
    in_time = cells - 0.5 * (np.roll(cells, 1, axis=0) + np.roll(cells, -1, axis=0))
    in_pitch = in_time.copy()
    in_pitch[:, 1:-1] -= 0.5 * (in_time[:, 2:] + in_time[:, :-2])
    return np.asarray(in_pitch)


def _pattern() -> Floats:
    signs = np.random.default_rng(_SEED).integers(0, 2, (_ROWS, _BANDS))
    return np.asarray(2.0 * signs - 1.0)


def _gains(hop: int, sample_rate: int) -> Floats:
    """For each row, a gain for each frequency of a frame."""
    hz = np.fft.rfftfreq(2 * hop, 1 / sample_rate)
    band = np.floor((hz - _LOWEST_HZ) / _BAND_HZ).astype(int)
    inside = (band >= 0) & (band < _BANDS)
    gains = np.ones((_ROWS, len(hz)))
    gains[:, inside] = 10 ** (_RIPPLE_DB / 20 * _pattern()[:, band[inside]])
    return gains


def _window(hop: int) -> Floats:
    """Twice applied, and half overlapped with itself, it adds up to 1."""
    return np.asarray(np.sin(np.pi * np.arange(2 * hop) / (2 * hop)))
