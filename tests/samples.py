"""Recordings for tests: real speech by several speakers, in many formats, and what must be refused.

Every maker returns the bytes of a file. Each file is made once in a test session.
"""

import io
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import soxr

Signal = npt.NDArray[np.float32]

RATE: Final = 24_000
READING: Final = Path(__file__).parent.parent / "demo" / "two-cities.mp3"
# Different people: the reading played at these speeds has other pitches and other formants.
SPEAKERS: Final = (1.0, 0.86, 1.16, 0.91, 1.1, 0.95, 1.05, 1.2)
FORMATS: Final = ("mp3", "wav", "m4a", "webm", "ogg", "flac")

_CODINGS: Final[dict[str, tuple[str, str, str, int]]] = {
    # Container, codec, sample format, rate.
    "mp3": ("mp3", "libmp3lame", "s16p", RATE),
    "wav": ("wav", "pcm_s16le", "s16", RATE),
    "m4a": ("ipod", "aac", "fltp", RATE),
    "webm": ("webm", "libopus", "s16", 48_000),
    "ogg": ("ogg", "libopus", "s16", 48_000),
    "flac": ("flac", "flac", "s16", RATE),
}


@cache
def speech(speaker: int = 0, suffix: str = "mp3", seconds: float = 36.0) -> bytes:
    """A sample that is accepted, by one of the SPEAKERS."""
    return encoded(_spoken(speaker, seconds), suffix)


@cache
def short_speech() -> bytes:
    """5 s."""
    return speech(seconds=5.0)


@cache
def long_speech() -> bytes:
    """90 s."""
    return encoded(_spoken(0, 90.0), "mp3")


@cache
def silence() -> bytes:
    return encoded(np.zeros(40 * RATE, np.float32), "mp3")


@cache
def quiet_speech() -> bytes:
    """Speech that lies in the noise of any recording."""
    return encoded(_spoken(0, 36.0) * np.float32(0.015), "flac")


@cache
def clipped_speech() -> bytes:
    return encoded(np.clip(_spoken(0, 36.0) * 30, -1, 1).astype(np.float32), "mp3")


@cache
def music() -> bytes:
    """40 s of chords, a melody and a beat, without a voice."""
    time = np.arange(40 * RATE) / RATE
    beat, step = time % 0.5, (time // 0.25).astype(int) % 8
    melody_hz = 220 * 2 ** (np.array([0, 4, 7, 12, 16, 12, 7, 4])[step] / 12)
    melody = sum(np.sin(2 * np.pi * melody_hz * h * (time % 0.25)) / h for h in range(1, 6))
    chords = sum(np.sin(2 * np.pi * hz * time) for hz in (110.0, 138.6, 164.8, 220.0))
    drum = np.random.default_rng(7).normal(size=len(time)) * np.exp(-beat * 30)
    mixed = 0.15 * melody * np.exp(-(time % 0.25) * 6) + 0.05 * chords + 0.05 * drum
    return encoded(mixed.astype(np.float32), "mp3")


@cache
def noise() -> bytes:
    return encoded(np.random.default_rng(3).normal(scale=0.1, size=40 * RATE).astype(np.float32), "mp3")


@cache
def tone() -> bytes:
    wave = 0.3 * np.sin(2 * np.pi * 300 * np.arange(40 * RATE) / RATE)
    return encoded(wave.astype(np.float32), "mp3")


def text_named_mp3() -> bytes:
    return b"This is a text file that somebody renamed to recording.mp3.\n" * 40


@cache
def truncated_webm() -> bytes:
    """A webm of 36 s of which only the first third arrived."""
    whole = speech(suffix="webm")
    return whole[: len(whole) // 3]


@cache
def four_mebibytes() -> bytes:
    """Real audio, but more than is accepted: 60 s of wav and then some."""
    return encoded(_spoken(0, 4 * (1 << 20) / (2 * RATE)), "wav")


def multipart(
    file: bytes, filename: str = "voice.mp3", content_type: str = "audio/mpeg", name: str = "file"
) -> tuple[bytes, str]:
    """The body of a form with one file field, and its content type."""
    boundary = "----newvisions-7d4a6d158c9"
    disposition = f'form-data; name="{name}"; filename="{filename}"'
    head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
    return head.encode() + file + f"\r\n--{boundary}--\r\n".encode(), (
        f"multipart/form-data; boundary={boundary}"
    )


def signal(recording: bytes) -> Signal:
    """What a file sounds like: mono at RATE."""
    with av.open(io.BytesIO(recording)) as container:
        source = container.streams.audio[0]
        mono = av.AudioResampler(format="fltp", layout="mono")
        blocks = [
            block.to_ndarray()[0] for frame in container.decode(source) for block in mono.resample(frame)
        ]
        heard: Signal = soxr.resample(np.concatenate(blocks), source.rate, RATE)
    return heard


def encoded(sound: Signal, suffix: str) -> bytes:
    """A file of mono sound at RATE."""
    container_name, codec, sample_format, rate = _CODINGS[suffix]
    at_rate = sound if rate == RATE else soxr.resample(sound, RATE, rate)
    samples = np.round(np.clip(at_rate, -1, 1) * 32767).astype(np.int16).reshape(1, -1)
    written = io.BytesIO()
    with av.open(written, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono", format=sample_format)
        stream.bit_rate = 128_000
        to_codec = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
        for start in range(0, samples.shape[1], rate):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, start : start + rate]), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = rate, start
            for block in to_codec.resample(frame):
                container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    return written.getvalue()


@cache
def _reading() -> Signal:
    return signal(READING.read_bytes())


def _spoken(speaker: int, seconds: float) -> Signal:
    """The reading by this speaker, from its first word, again from the start when it is too short."""
    spoken = _reading()[RATE : -2 * RATE]
    spoken = soxr.resample(spoken, RATE * SPEAKERS[speaker], RATE)
    # The reading is a quiet one; this is an ordinary recording's level.
    loud: Signal = np.resize(spoken, round(seconds * RATE)) * np.float32(4)
    return loud
