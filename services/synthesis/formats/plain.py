"""Samples as they are, 16-bit little-endian: in a RIFF header, or bare."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis import tag
from services.synthesis.domain import Labels
from services.synthesis.formats.muxed import sixteen_bit

# "Until it ends", as ffmpeg and sox write it to a pipe: browsers and ffmpeg play what there is.
_UNKNOWN_BYTES: Final = b"\xff\xff\xff\xff"
_PCM, _MONO, _SAMPLE_BYTES = 1, 1, 2


def wav(sample_rate: int, labels: Labels) -> "Plain":
    return Plain(sample_rate, "audio/wav", _riff(sample_rate, tag.info_list(labels)))


def pcm(sample_rate: int, _labels: Labels) -> "Plain":
    return Plain(sample_rate, "audio/pcm", b"")


class Plain:
    delay_samples = 0

    def __init__(self, sample_rate: int, content_type: str, opening: bytes) -> None:
        self.content_type = content_type
        self.opening = opening
        self._rate = sample_rate
        self._samples = 0

    @property
    def seconds(self) -> float:
        return self._samples / self._rate

    def encode(self, samples: NDArray[np.float32]) -> list[bytes]:
        self._samples += len(samples)
        return [sixteen_bit(samples).tobytes()] if len(samples) else []

    def finish(self) -> list[bytes]:
        return []


def _riff(sample_rate: int, info: bytes) -> bytes:
    """The words come before the samples: behind samples of unknown length nobody would find them."""
    shape = b"".join(
        number.to_bytes(size, "little")
        for number, size in (
            (_PCM, 2),
            (_MONO, 2),
            (sample_rate, 4),
            (sample_rate * _SAMPLE_BYTES, 4),
            (_SAMPLE_BYTES, 2),
            (8 * _SAMPLE_BYTES, 2),
        )
    )
    layout = b"fmt " + len(shape).to_bytes(4, "little") + shape
    return b"RIFF" + _UNKNOWN_BYTES + b"WAVE" + layout + info + b"data" + _UNKNOWN_BYTES
