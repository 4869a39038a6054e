"""How soon does any engine speak, how fast, and in how much memory?

`python -m bench.engines NAME`, as in SYNTHESIS_ENGINES and with the same settings. A voice is learnt from
demo/two-cities.mp3, or `--voice` names one that the engine's provider keeps. One JSON line.
"""

import argparse
import asyncio
import os
import statistics
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Final

import av

from bench import report
from services.synthesis.domain import EnrolledVoice, Utterance
from services.synthesis.engines.catalogue import engine_named
from services.synthesis.ports import Engine

DEMO: Final = Path(__file__).parents[1] / "demo" / "two-cities.mp3"
RATE: Final = 24_000
# About a hundred characters each, as long as a voice memo is.
NOTES: Final = {
    "en": "Good morning, I woke up with the Queen of Hearts in my head, and I really can't say why that is.",
    "es": "Buenos días, me desperté pensando en la reina de corazones, y la verdad es que no sé por qué.",
}


def sample() -> bytes:
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(DEMO)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(part.to_ndarray().astype("<i2").tobytes() for part in parts)


def resident_mb() -> int:
    """Of this process and its children; this bench runs on Linux."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    processes = [str(os.getpid()), *" ".join(task.read_text() for task in tasks).split()]
    rows = [row for process in processes for row in Path(f"/proc/{process}/status").read_text().splitlines()]
    return sum(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) // 1024


async def spoken(engine: Engine, utterance: Utterance, voice: EnrolledVoice) -> tuple[float, float, float]:
    """Seconds to the first audio, seconds to the last, and seconds of audio."""
    asked, first, length = perf_counter(), 0.0, 0
    async with aclosing(engine.speak(utterance, voice)) as stream:
        async for chunk in stream:
            first = first or perf_counter() - asked
            length += len(chunk)
    return first, perf_counter() - asked, length / 2 / engine.sample_rate


async def bench(name: str, language: str, voice_id: str, rounds: int) -> None:
    before, load = resident_mb(), os.getloadavg()[0]
    engine = engine_named(name)
    started = perf_counter()
    await engine.start()
    ready = perf_counter()
    profile = b"" if voice_id else await engine.enrol(sample(), RATE)
    enrolled = perf_counter()
    utterance, voice = Utterance(NOTES[language], language), EnrolledVoice(voice_id, profile)
    try:
        takes = [await spoken(engine, utterance, voice) for _ in range(rounds)]
        report.line(
            bench="engines",
            engine=engine.name,
            language=language,
            start_seconds=round(ready - started, 2),
            enrol_seconds=round(enrolled - ready, 2),
            profile_bytes=len(profile),
            first_audio=report.percentiles([first for first, _, _ in takes]),
            audio_seconds=round(takes[0][2], 2),
            real_time_factor=round(statistics.median(total / audio for _, total, audio in takes), 3),
            memory_mb=resident_mb() - before,
            load_average=round(load, 1),
        )
    finally:
        await engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("--language", choices=sorted(NOTES), default="en")
    parser.add_argument("--voice", default="", help="for engines whose provider keeps the voices")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    asyncio.run(bench(chosen.engine, chosen.language, chosen.voice, chosen.rounds))
