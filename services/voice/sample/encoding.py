"""The forms in which a sample is kept: 16-bit PCM for its hash and for enrolment, MP3 for storage."""

import io
from typing import Final

import av
import numpy as np

from services.voice.sample.decoding import RATE, Signal

_MP3_BITS_PER_SECOND: Final = 128_000
_BLOCK: Final = 1152 * 64
# Of LAME's ten qualities the one that takes two thirds of the time; what comes back differs as little.
_EFFORT: Final = {"compression_level": "7"}


def to_pcm(signal: Signal) -> bytes:
    """16-bit little-endian."""
    return _samples(signal).astype("<i2").tobytes()


def to_mp3(signal: Signal) -> bytes:
    """Mono, 128 kb/s, at the rate that it has: a higher one spends bits and time on nothing."""
    samples = _samples(signal)
    written = io.BytesIO()
    with av.open(written, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono", format="s16p", options=_EFFORT)
        stream.bit_rate = _MP3_BITS_PER_SECOND
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16p", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return written.getvalue()


def _samples(signal: Signal) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.round(np.clip(signal, -1, 1) * 32767).astype(np.int16)
