"""Speech as a steady tone: its pitch says whose voice it is, its length how much was said."""

import re
from functools import lru_cache
from typing import Final

import numpy as np

from services.synthesis.engines.tone import SECONDS_PER_CHARACTER, STEP_HZ
from services.synthesis.formats.mp3 import Mp3
from services.synthesis.mix import RATE

FORMATS: Final = re.compile(r"mp3_44100_128|pcm_(16000|22050|24000|44100)")
DEFAULT_FORMAT: Final = "mp3_44100_128"


def content_type(output_format: str) -> str:
    return "audio/mpeg" if output_format.startswith("mp3") else "audio/pcm"


# Memos repeat their length, voices their pitch; what is encoded once is encoded for the next as well.
@lru_cache(maxsize=64)
def spoken(characters: int, speed: float, hz: int, output_format: str) -> bytes:
    """Takes processor time: not for an event loop."""
    seconds = SECONDS_PER_CHARACTER * characters / speed
    if output_format.startswith("mp3"):
        encoder = Mp3()
        frames = encoder.encode(_tone(seconds, hz, RATE)) + encoder.finish()
        return b"".join(frames)
    rate = int(output_format.removeprefix("pcm_"))
    return np.round(_tone(seconds, hz, rate) * 32767).astype("<i2").tobytes()


def _tone(seconds: float, hz: int, rate: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    # Every marker is a multiple of STEP_HZ, so a loop this long holds whole periods of it at each rate.
    loop = 0.25 * np.sin(2 * np.pi * hz * np.arange(rate // STEP_HZ) / rate)
    return np.resize(loop.astype(np.float32), round(seconds * rate))
