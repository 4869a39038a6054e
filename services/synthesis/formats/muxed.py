"""Formats whose frames need a container around them: opus in Ogg, aac in ADTS, flac."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import av
import numpy as np
from av.container.core import Flags
from numpy.typing import NDArray

from services.synthesis import tag
from services.synthesis.domain import Labels

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Kind:
    container: str
    codec: str
    content_type: str
    sample_format: str
    # By sample rate; without one the codec decides.
    bits_per_second: Mapping[int, int] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    codec_options: Mapping[str, str] = field(default_factory=dict)
    delay_samples: int = 0
    # The container cannot say where the audio ends inside the last frame.
    plays_whole_frames: bool = False


_OPUS: Final = _Kind(
    "ogg",
    "libopus",
    "audio/ogg",
    "flt",
    bits_per_second={8_000: 24_000, 16_000: 32_000, 24_000: 48_000, 48_000: 64_000},
    # A page for each packet of 20 ms: nothing waits for a page to fill.
    container_options={"page_duration": "20000"},
    # Half the processor time of the usual 10, and no difference that a listener would name.
    codec_options={"compression_level": "5"},
)
_AAC: Final = _Kind(
    "adts",
    "aac",
    "audio/aac",
    "fltp",
    bits_per_second={8_000: 32_000, 16_000: 64_000, 22_050: 64_000, 24_000: 64_000}
    | dict.fromkeys((32_000, 44_100, 48_000), 96_000),
    delay_samples=1024,
    plays_whole_frames=True,
)
_FLAC: Final = _Kind(
    "flac",
    "flac",
    "audio/flac",
    "s16",
    # A stream is not edited in place: no room is kept in its header for that.
    container_options={"metadata_header_padding": "0"},
)


def opus(sample_rate: int, labels: Labels) -> "Muxed":
    return Muxed(_OPUS, sample_rate, tag.comments(labels))


def aac(sample_rate: int, labels: Labels) -> "Muxed":
    return Muxed(_AAC, sample_rate, {}, tag.id3(labels))


def flac(sample_rate: int, labels: Labels) -> "Muxed":
    return Muxed(_FLAC, sample_rate, tag.comments(labels))


class Muxed:
    """One codec in one container, written to memory and taken out frame by frame."""

    def __init__(
        self, kind: _Kind, sample_rate: int, comments: Mapping[str, str], before: bytes = b""
    ) -> None:
        self.content_type = kind.content_type
        self.delay_samples = kind.delay_samples
        self._kind = kind
        self._rate = sample_rate
        self._written = _Written()
        options = {"flush_packets": "1", **kind.container_options}
        self._container = av.open(self._written, "w", format=kind.container, options=options)
        # The same memo, the same bytes: no random serial numbers, no versions of libraries.
        self._container.flags |= Flags.bitexact.value
        self._container.metadata.update(comments)
        self._stream = self._opened_stream()
        self._container.start_encoding()
        self.opening = before + self._written.taken()
        self._at = 0
        self._frames = 0

    @property
    def seconds(self) -> float:
        if self._kind.plays_whole_frames:
            return self._frames * int(self._stream.codec_context.frame_size) / self._rate
        return self._at / self._rate

    def encode(self, samples: Samples) -> list[bytes]:
        if not len(samples):
            return []
        kind = self._kind.sample_format
        shaped = sixteen_bit(samples) if kind == "s16" else samples
        frame = av.AudioFrame.from_ndarray(shaped.reshape(1, -1), format=kind, layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._at
        self._at += len(samples)
        return self._muxed(self._stream.encode(frame))

    def finish(self) -> list[bytes]:
        frames = self._muxed(self._stream.encode(None))
        self._container.close()
        return [*frames, *filter(None, [self._written.taken()])]

    def _opened_stream(self) -> Any:
        stream = self._container.add_stream(
            self._kind.codec, rate=self._rate, options=dict(self._kind.codec_options)
        )
        stream.codec_context.layout = "mono"
        stream.codec_context.format = self._kind.sample_format
        if self._kind.bits_per_second:
            stream.codec_context.bit_rate = self._kind.bits_per_second[self._rate]
        return stream

    def _muxed(self, packets: list[av.Packet]) -> list[bytes]:
        """Ogg keeps its newest page back, because the last one must say so."""
        frames = []
        for packet in packets:
            self._frames += 1
            self._container.mux(packet)
            frames.append(self._written.taken())
        return [frame for frame in frames if frame]


class _Written:
    """A file that only grows, and is emptied after each packet."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, written: bytes) -> int:
        self._bytes += written
        return len(written)

    def taken(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


def sixteen_bit(samples: Samples) -> NDArray[np.int16]:
    return np.round(np.clip(samples, -1, 1) * np.float32(32767)).astype("<i2")
