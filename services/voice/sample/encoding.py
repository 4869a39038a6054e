"""The forms in which a sample is kept: 16-bit PCM for its hash and for enrolment, MP3 for storage."""

import io
from typing import Final

import av
import numpy as np
import soxr

from services.voice.sample.decoding import RATE, Signal

_MP3_RATE: Final = 44_100
_MP3_BITS_PER_SECOND: Final = 128_000
_BLOCK: Final = 1152 * 64
# Of LAME's ten qualities the one that takes half the time; a voice at this rate sounds the same.
_EFFORT: Final = {"compression_level": "7"}


def to_pcm(signal: Signal) -> bytes:
    """16-bit little-endian."""
    return np.round(np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes()


def to_mp3(signal: Signal) -> bytes:
    """44.1 kHz, mono, 128 kb/s."""
    fine = np.clip(soxr.resample(signal, RATE, _MP3_RATE), -1, 1)
    samples = np.round(fine * 32767).astype(np.int16)
    written = io.BytesIO()
    with av.open(written, "w", format="mp3") as container:
        stream = container.add_stream(
            "libmp3lame", rate=_MP3_RATE, layout="mono", format="s16p", options=_EFFORT
        )
        stream.bit_rate = _MP3_BITS_PER_SECOND
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16p", layout="mono")
            frame.sample_rate, frame.pts = _MP3_RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return written.getvalue()
