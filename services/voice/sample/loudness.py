"""How loud a signal is, and the same signal at the loudness that samples are kept in."""

from typing import Final

import numpy as np
import pyloudnorm
import soxr
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from services.voice.sample.decoding import RATE, Signal

LUFS: Final = -20.0
PEAK_DBFS: Final = -3.0
# Meters interpolate differently: kept below the limit, so that each of them finds it kept.
_METERS_DIFFER_DB: Final = 0.05
# Peaks between two samples are seen at this multiple of the rate.
_OVERSAMPLING: Final = 4
# How long the limiter takes to lower a peak: 5 ms are not heard as distortion.
_LIMITER_SAMPLES: Final = RATE // 200 | 1


def loudness(signal: Signal) -> float:
    """In LUFS; minus infinity for silence and for less than one measuring block."""
    meter = pyloudnorm.Meter(RATE)
    if len(signal) <= meter.block_size * RATE:
        return float("-inf")
    return float(meter.integrated_loudness(signal))


def normalised(signal: Signal) -> Signal:
    """At -20 LUFS, with true peaks at -3 dBFS at most. The signal must not be silent."""
    gain = 10 ** ((LUFS - loudness(signal)) / 20)
    return _limited(signal * np.float32(gain))


def _limited(signal: Signal) -> Signal:
    """Lower each peak by a gain that changes smoothly and is never above what the peak needs.

    The mean of a running minimum over the same width is nowhere above the minimum's source.
    """
    ceiling = 10 ** ((PEAK_DBFS - _METERS_DIFFER_DB) / 20)
    needed = np.minimum(1.0, ceiling / np.maximum(_true_peaks(signal), 1e-9))
    if needed.min() == 1.0:
        return signal
    lowest = minimum_filter1d(needed, _LIMITER_SAMPLES, mode="nearest")
    smooth = uniform_filter1d(lowest, _LIMITER_SAMPLES, mode="nearest")
    limited: Signal = (signal * smooth).astype(np.float32)
    return limited


def _true_peaks(signal: Signal) -> Signal:
    """The largest value around each sample, also between it and its neighbours."""
    fine = np.abs(soxr.resample(signal, RATE, RATE * _OVERSAMPLING))
    fine = np.pad(fine, (0, max(0, len(signal) * _OVERSAMPLING - len(fine))))
    between: Signal = fine[: len(signal) * _OVERSAMPLING].reshape(-1, _OVERSAMPLING).max(axis=1)
    return np.maximum(np.abs(signal), between)
