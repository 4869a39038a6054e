"""The fan that is mixed under memos, made here from noise and sines.

It is built as a spectrum, so it is periodic by nature: the loop has no seam to hide.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis import tag
from services.synthesis.encode import FRAME_SAMPLES, Encoder
from services.synthesis.mix import RATE

Loop = NDArray[np.float32]

# 11.7 s. Whole MP3 frames, so that the encoded loop has no seam either, and many small factors, so
# that its Fourier transform is quick.
LOOP_FRAMES: Final = 448
LOOP_SAMPLES: Final = LOOP_FRAMES * FRAME_SAMPLES
# At 100 percent, 6 dB below the voice; at the usual 30 percent, 16 dB below.
FULL_VOLUME_DBFS: Final = -26.0
# Three blades at 1140 turns a minute.
_BLADE_HZ: Final = 57.0
_SEED: Final = 20_260_101


@dataclass(frozen=True, slots=True)
class Fan:
    loop: Loop
    mp3: bytes

    @classmethod
    def made(cls) -> "Fan":
        loop = fan_loop()
        return cls(loop, _encoded(loop))


def fan_loop(seed: int = _SEED) -> Loop:
    """One seamless loop at FULL_VOLUME_DBFS; the same seed gives the same samples."""
    dice = np.random.default_rng(seed)
    air = _air(dice) * _swell(dice)
    sound = air / _rms(air) + 0.25 * _blades(dice)
    return (sound / _rms(sound) * 10 ** (FULL_VOLUME_DBFS / 20)).astype(np.float32)


def _air(dice: np.random.Generator) -> NDArray[np.float64]:
    """Moving air: no rumble, a broad hump, then a gentle fall to the treble."""
    hz = np.fft.rfftfreq(LOOP_SAMPLES, 1 / RATE)
    below = (hz / 90) ** 2
    shape = below / (1 + below) / (1 + hz / 450) / (1 + (hz / 7000) ** 2)
    for centre, gain in ((240, 0.9), (950, 0.6)):
        shape *= 1 + gain * np.exp(-0.5 * (np.log((hz + 1e-9) / centre) / 0.35) ** 2)
    noise = dice.standard_normal(len(hz)) + 1j * dice.standard_normal(len(hz))
    return np.fft.irfft(noise * shape, LOOP_SAMPLES)


def _swell(dice: np.random.Generator) -> NDArray[np.float64]:
    """Slow breathing of the stream, and the faint flutter of each passing blade."""
    turn = _turn()
    slow = sum(
        np.cos(cycles * turn + dice.uniform(0, 2 * np.pi)) / cycles**0.5 for cycles in (1, 2, 3, 5, 7, 11)
    )
    flutter = np.cos(_whole_cycles(_BLADE_HZ) * turn)
    return np.asarray(1 + 0.05 * slow + 0.05 * flutter)


def _blades(dice: np.random.Generator) -> NDArray[np.float64]:
    """The hum of the blades and its overtones, each drifting a little in pitch."""
    turn = _turn()
    hum = np.zeros(LOOP_SAMPLES)
    for overtone in range(1, 6):
        drift = 0.6 * np.cos((overtone + 1) * turn + dice.uniform(0, 2 * np.pi))
        hum += np.cos(overtone * _whole_cycles(_BLADE_HZ) * turn + drift) / overtone
    return hum


def _turn() -> NDArray[np.float64]:
    """The angle that goes round once in the whole loop."""
    return 2 * np.pi * np.arange(LOOP_SAMPLES) / LOOP_SAMPLES


def _whole_cycles(hz: float) -> int:
    return round(hz * LOOP_SAMPLES / RATE)


def _rms(sound: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def _encoded(loop: Loop) -> bytes:
    """One turn of the loop, cut out of a longer recording so that its ends fit together."""
    before, after = 8, 4
    longer = np.concatenate((loop[-before * FRAME_SAMPLES :], loop, loop[: after * FRAME_SAMPLES]))
    frames = Encoder().encode(longer)
    return tag.sound("Fan") + b"".join(frames[before : before + LOOP_FRAMES])
