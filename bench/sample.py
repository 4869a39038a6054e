"""How long does it take to examine a recording, and how much processor time is that?

From the bytes of an upload to the normalised sample or the refusal, on one core: in this process, and
through a worker process as uploads go. The recording is demo/two-cities.mp3, as long as asked for.

    python -m bench.sample [--seconds 60] [--rounds 20]
"""

import argparse
import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

import av
import numpy as np

from bench.report import line, percentiles
from services.voice.examiners import Examiners
from services.voice.sample.decoding import RATE, Signal, decode
from services.voice.sample.examination import examine

DEMO: Final = Path(__file__).parents[1] / "demo" / "two-cities.mp3"
# What phones, browsers and recorders send: container, codec, sample format, rate.
FORMATS: Final = {
    "mp3": ("mp3", "libmp3lame", "s16p", RATE),
    "m4a": ("ipod", "aac", "fltp", RATE),
    "webm": ("webm", "libopus", "s16", 48_000),
    "wav": ("wav", "pcm_s16le", "s16", RATE),
}


def reading(seconds: float) -> Signal:
    """Its own words over and over, at the level of an ordinary recording."""
    words = decode(DEMO.read_bytes(), "mp3").signal[RATE : -2 * RATE]
    return np.resize(words, round(seconds * RATE)) * np.float32(4)


def recording(sound: Signal, kind: str) -> bytes:
    container_name, codec, sample_format, rate = FORMATS[kind]
    to_codec = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
    written = io.BytesIO()
    with av.open(written, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono", format=sample_format)
        stream.bit_rate = 128_000
        block = np.ascontiguousarray(np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = RATE
        for part in (*to_codec.resample(frame), *to_codec.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return written.getvalue()


def taken(clock: Callable[[], float], upload: bytes, rounds: int) -> list[float]:
    seconds = []
    for _ in range(rounds):
        began = clock()
        examine(upload)
        seconds.append(clock() - began)
    return seconds


async def through_a_worker(upload: bytes, rounds: int) -> list[float]:
    examiners, seconds = Examiners(workers=1, queue=1, seconds=30), []
    await examiners.start()
    try:
        await examiners.examine(upload)
        for _ in range(rounds):
            began = perf_counter()
            await examiners.examine(upload)
            seconds.append(perf_counter() - began)
    finally:
        await examiners.close()
    return seconds


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--seconds", type=float, default=60)
    asked.add_argument("--rounds", type=int, default=20)
    options = asked.parse_args()
    sound = reading(options.seconds)
    for kind in FORMATS:
        upload = recording(sound, kind)
        said = {"bench": "sample", "format": kind, "audio_seconds": options.seconds, "bytes": len(upload)}
        examine(upload)
        line(**said, figure="processor_time", **percentiles(taken(process_time, upload, options.rounds)))
        line(**said, figure="wall", **percentiles(taken(perf_counter, upload, options.rounds)))
        worked = asyncio.run(through_a_worker(upload, options.rounds))
        line(**said, figure="wall_through_a_worker", **percentiles(worked))


if __name__ == "__main__":
    main()
