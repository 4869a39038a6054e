"""Short-time analysis of speech at 24 kHz: spectrum, mel cepstrum, level, voicing and pitch."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SAMPLE_RATE: Final = 24_000
FRAME: Final = 1024
HOP: Final = 240
BANDS: Final = 80
_BAND_EDGES_HZ: Final = (60.0, 11_500.0)
_PITCH_HZ: Final = (62, 420)
_POWER_FLOOR: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Analysis:
    """One row per hop of 10 ms."""

    spectrum: NDArray[np.complex64]
    power: Floats
    # Natural-log mel spectrum through a cosine transform: row 0 of the transform is level.
    cepstra: Floats
    level_db: Floats
    voiced: Bools
    # Zero where unvoiced.
    pitch_hz: Floats
    active: Bools


def analyse(signal: Floats) -> Analysis:
    spectrum = np.fft.rfft(_frames(signal) * window(), axis=1).astype(np.complex64)
    power = np.square(np.abs(spectrum))
    cepstra = np.log(power @ mel_bands().T + _POWER_FLOOR) @ cosine_rows().T
    level_db = 10 * np.log10(power.sum(axis=1) + _POWER_FLOOR)
    # 42 dB under the loudest two per cent: room noise and breath stay out.
    active = level_db > np.percentile(level_db, 98) - 42
    periodicity, lag = _periodicity(power)
    voiced = (periodicity > 0.5) & active
    pitch_hz = np.where(voiced, SAMPLE_RATE / lag, 0).astype(np.float32)
    return Analysis(spectrum, power, cepstra, level_db.astype(np.float32), voiced, pitch_hz, active)


def resynthesise(spectrum: NDArray[np.complex64], samples: int) -> Floats:
    """Overlap-add the frames that `analyse` made of `samples` samples."""
    frames = np.fft.irfft(spectrum, FRAME, axis=1) * window()
    total = np.zeros(len(frames) * HOP + FRAME, dtype=np.float64)
    weight = np.zeros_like(total)
    squared = np.square(window())
    for index, frame in enumerate(frames):
        start = index * HOP
        total[start : start + FRAME] += frame
        weight[start : start + FRAME] += squared
    centre = slice(FRAME // 2, FRAME // 2 + samples)
    return (total[centre] / np.maximum(weight[centre], 1e-3)).astype(np.float32)


@lru_cache
def window() -> Floats:
    return np.hanning(FRAME + 1)[:-1].astype(np.float32)


@lru_cache
def bin_hz() -> Floats:
    return np.asarray(np.arange(FRAME // 2 + 1) * SAMPLE_RATE / FRAME, dtype=np.float32)


@lru_cache
def band_centres_hz() -> Floats:
    return _band_corners_hz()[1:-1].astype(np.float32)


@lru_cache
def mel_bands() -> Floats:
    """Triangles of equal area over the bins, one row per band."""
    corners, bins = _band_corners_hz(), bin_hz()
    bands = np.zeros((BANDS, len(bins)))
    for row, (low, centre, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        triangle = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
        bands[row] = np.maximum(0, triangle)
        if bands[row].sum() < 1e-3:
            # The lowest bands are narrower than one bin.
            bands[row, np.argmin(np.abs(bins - centre))] = 1
        bands[row] /= bands[row].sum()
    return bands.astype(np.float32)


@lru_cache
def cosine_rows() -> Floats:
    """The orthonormal cosine transform over bands; its transpose is its inverse."""
    order = np.arange(BANDS)
    rows = np.sqrt(2 / BANDS) * np.cos(np.pi * (order[None] + 0.5) * order[:, None] / BANDS)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, dtype=np.float32)


def _band_corners_hz() -> NDArray[np.float64]:
    low, high = (2595 * np.log10(1 + edge / 700) for edge in _BAND_EDGES_HZ)
    mels = np.linspace(low, high, BANDS + 2)
    return np.asarray(700 * (10 ** (mels / 2595) - 1))


def _frames(signal: Floats) -> Floats:
    count = 1 + max(0, (len(signal) - 1) // HOP)
    padded = np.pad(signal.astype(np.float32), (FRAME // 2, FRAME + HOP))
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME)[: count * HOP : HOP]


def _periodicity(power: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The height and the lag of the best autocorrelation peak of each frame."""
    low_band = power * (bin_hz() < 1200)
    autocorrelation = np.fft.irfft(low_band, axis=1)[:, : FRAME // 2]
    of_window = np.fft.irfft(np.square(np.abs(np.fft.rfft(window()))))[: FRAME // 2]
    taper = np.maximum(of_window / of_window[0], 1e-3)
    height = autocorrelation / np.maximum(autocorrelation[:, :1], 1e-9) / taper
    shortest, longest = SAMPLE_RATE // _PITCH_HZ[1], SAMPLE_RATE // _PITCH_HZ[0]
    lags = height[:, shortest:longest]
    best = lags.max(axis=1)
    middle = lags[:, 1:-1]
    peaks = (middle > lags[:, :-2]) & (middle >= lags[:, 2:]) & (middle > 0.87 * best[:, None])
    # The first good peak rather than the best one: the best may be an octave below.
    lag = np.where(peaks.any(axis=1), peaks.argmax(axis=1) + 1, lags.argmax(axis=1)) + shortest
    return best.astype(np.float32), lag
