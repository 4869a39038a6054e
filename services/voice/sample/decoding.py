"""Decodes a recording in memory, within hard bounds, to mono at the rate that samples are kept in."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import soxr

from services.voice.refusals import SampleMediaUnknown, SampleUnreadable
from services.voice.sample.wire import SAMPLE_RATE

Signal = npt.NDArray[np.float32]

RATE: Final = SAMPLE_RATE
# Nothing longer can be a sample; what follows is not decoded, however small the file is.
MOST_SECONDS: Final = 120
_RATES: Final = range(8_000, 192_001)
_MOST_CHANNELS: Final = 8
_MOST_BROKEN_PACKETS: Final = 50
# Half a decibel under full scale: lossy coding leaves clipped peaks a little above or below it.
_FULL_SCALE: Final = 0.95
_CODECS: Final = ("mp3", "aac", "opus", "libopus", "vorbis", "libvorbis", "flac", "alac", "pcm_", "adpcm_ms")


@dataclass(frozen=True, slots=True)
class Decoded:
    signal: Signal
    # Share of the source's own samples at full scale.
    clipped_share: float
    # What the file says about its length; 0 when it says nothing.
    declared_seconds: float
    # There was more than MOST_SECONDS.
    cut_off: bool

    @property
    def seconds(self) -> float:
        return len(self.signal) / RATE


def decode(recording: bytes, demuxer: str) -> Decoded:
    """Raises SampleUnreadable, or SampleMediaUnknown when there is no audio inside."""
    try:
        with av.open(io.BytesIO(recording), format=demuxer) as container:
            return _collect(container)
    # MemoryError: a header that asks for absurd buffers. ValueError: the format changes half-way.
    except (av.FFmpegError, MemoryError, ValueError, OverflowError) as error:
        raise SampleUnreadable("The recording cannot be read: it is damaged or not complete.") from error


def _collect(container: Any) -> Decoded:
    stream = _audio_stream(container)
    rate = stream.codec_context.sample_rate
    resampling = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
    pieces, clipped, read, cut_off = [], 0, 0, False
    for block in _blocks(container, stream):
        clipped += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))
        read += len(block)
        pieces.append(resampling.resample_chunk(block))
        if read >= MOST_SECONDS * rate:
            cut_off = True
            break
    if not read:
        raise SampleUnreadable("There is no sound in this file that can be read.")
    pieces.append(resampling.resample_chunk(np.zeros(0, np.float32), last=True))
    return Decoded(np.concatenate(pieces), clipped / read, _declared_seconds(container, stream), cut_off)


def _audio_stream(container: Any) -> Any:
    if not container.streams.audio:
        raise SampleMediaUnknown("There is no audio in this file.")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or not codec.name.startswith(_CODECS):
        raise SampleMediaUnknown("The audio in this file is in a coding that is not accepted.")
    if codec.sample_rate not in _RATES or not 1 <= codec.channels <= _MOST_CHANNELS:
        raise SampleUnreadable("The recording has an impossible sample rate or number of channels.")
    # One worker, one core: the pool decides how much is done at once.
    codec.thread_count = 1
    return stream


def _blocks(container: Any, stream: Any) -> Iterator[Signal]:
    """Mono blocks as they are decoded; a few broken packets are left out, as players do."""
    to_mono = av.AudioResampler(format="fltp", layout="mono")
    broken = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            broken += 1
            if broken > _MOST_BROKEN_PACKETS:
                raise
            continue
        for frame in frames:
            for mono in to_mono.resample(frame):
                yield np.nan_to_num(mono.to_ndarray()[0], posinf=1.0, neginf=-1.0)


def _declared_seconds(container: Any, stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0
