"""How far speech stands above what else is heard in a recording.

The background is what is left in the quietest twentieth of the stretch between the first and the last
word: breaths, pauses and the closures inside words are enough for that, however fast somebody reads.
Following the minima of a level is how noise suppressors find the noise under speech (R. Martin, Noise
Power Spectral Density Estimation Based on Optimal Smoothing and Minimum Statistics, 2001); a low
quantile does not depend on a single frame. Rumble and mains hum below 100 Hz do not count: they are
hardly heard, and no voice is there.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from services.voice.sample.decoding import Signal

_BACKGROUND_QUANTILE: Final = 0.05
_LOWEST_HZ: Final = 100.0
_LEAST_POWER: Final = 1e-12


def clearance_db(chunks: Signal, rate: int, spoken: npt.NDArray[np.bool_]) -> float:
    """The signal-to-noise ratio, for rows of samples in some of which somebody speaks."""
    words = np.flatnonzero(spoken)
    if not len(words):
        return 0.0
    power = _audible_power(chunks[words[0] : words[-1] + 1], rate)
    background = np.quantile(power, _BACKGROUND_QUANTILE)
    # While somebody speaks, the background is heard as well.
    speech = power[spoken[words[0] : words[-1] + 1]].mean() - background
    return float(10 * np.log10(max(speech, _LEAST_POWER) / max(background, _LEAST_POWER)))


def _audible_power(chunks: Signal, rate: int) -> npt.NDArray[np.float32]:
    size = chunks.shape[1]
    window = np.hanning(size).astype(np.float32)
    lowest = round(_LOWEST_HZ * size / rate)
    spectrum = np.fft.rfft(chunks * window, axis=1)[:, lowest:]
    power: npt.NDArray[np.float32] = np.square(np.abs(spectrum)).sum(axis=1) / np.square(window).sum()
    return power
