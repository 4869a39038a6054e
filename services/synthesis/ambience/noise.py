"""What the sounds are made of. Everything is periodic in the loop, so a loop has no seam to hide."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.formats.mp3 import FRAME_SAMPLES
from services.synthesis.mix import RATE

Loop = NDArray[np.float32]
Floats = NDArray[np.float64]

# 11.7 s. Whole MP3 frames, so that the encoded loop has no seam either, and many small factors, so
# that its Fourier transform is quick.
LOOP_FRAMES: Final = 448
LOOP_SAMPLES: Final = LOOP_FRAMES * FRAME_SAMPLES
SEED: Final = 20_260_101


def coloured(dice: np.random.Generator, shape: Floats) -> Floats:
    """Noise whose amplitude at each of `frequencies()` is `shape`: made as a spectrum, hence periodic."""
    noise = dice.standard_normal(len(shape)) + 1j * dice.standard_normal(len(shape))
    return np.fft.irfft(noise * shape, LOOP_SAMPLES)


def frequencies() -> Floats:
    """In hertz, of each bin of the loop's spectrum."""
    return np.asarray(np.fft.rfftfreq(LOOP_SAMPLES, 1 / RATE), np.float64)


def above(hz: Floats, edge: float) -> Floats:
    """Lets pass what is above the edge; 12 dB less with each octave below it."""
    below = (hz / edge) ** 2
    return np.asarray(below / (1 + below))


def below(hz: Floats, edge: float) -> Floats:
    """Lets pass what is below the edge; 12 dB less with each octave above it."""
    return np.asarray(1 / (1 + (hz / edge) ** 2))


def hump(hz: Floats, centre: float, width: float) -> Floats:
    """A hill on a logarithmic scale; `width` is one standard deviation in natural logarithms."""
    return np.asarray(np.exp(-0.5 * (np.log((hz + 1e-9) / centre) / width) ** 2))


def swell(dice: np.random.Generator, cycles: Iterable[int]) -> Floats:
    """Slow waves, so many in each loop, of no regular shape."""
    angle = turn()
    return np.asarray(
        sum(np.cos(count * angle + dice.uniform(0, 2 * np.pi)) / count**0.5 for count in cycles)
    )


def turn() -> Floats:
    """The angle that goes round once in the whole loop."""
    return 2 * np.pi * np.arange(LOOP_SAMPLES) / LOOP_SAMPLES


def rms(sound: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def levelled(sound: Floats, dbfs: float) -> Loop:
    return (sound / rms(sound) * 10 ** (dbfs / 20)).astype(np.float32)


def at_rate(loop: Loop, rate: int) -> Loop:
    """The same loop in another number of samples, seamless as before: its spectrum is cut or filled up."""
    if rate == RATE:
        return loop
    samples = round(len(loop) * rate / RATE)
    spectrum = np.fft.rfft(loop)[: (samples + 1) // 2]
    return np.asarray(np.fft.irfft(spectrum, samples) * (samples / len(loop)), np.float32)
