"""How soon does the embedded engine speak, and what does a second of its audio cost, as listeners are added?

    python -m bench.speech [--rounds 5] [--streams 1 4 16] [--threads 1 2] [--language en]

Each stream asks for one note of about a hundred characters in a voice of its own, all at the same moment.
One engine for each number of threads, side by side: they take turns, so that a busy machine is busy for
both. One JSON line for each engine and number of streams, then one for each engine's memory. Linux only.

    first_audio                  from the request to the first chunk
    real_time_factor             from the request to the last chunk, for a second of audio
    cpu_seconds_per_audio_second of the engine's process, for a second of audio
"""

import argparse
import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np

from bench import report
from bench.voices import DEMO, decoded, sixteen_bit
from services.synthesis.domain import EnrolledVoice, Utterance
from services.synthesis.engines.local import LocalEngine
from services.synthesis.engines.local.spectrum import SAMPLE_RATE

NOTES: Final = {
    "en": "Good morning, I woke up with the Queen of Hearts in my head, and I really can't say why that is.",
    "es": "Buenos días, me desperté pensando en la reina de corazones, y la verdad es que no sé por qué.",
}
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Took:
    """What was measured at one number of streams."""

    first_audio: list[float] = field(default_factory=list)
    real_time_factors: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    audio_seconds: float = 0.0

    def add(self, first: float, last: float, audio: float) -> None:
        self.first_audio.append(first)
        self.real_time_factors.append(last / audio)
        self.audio_seconds += audio


@dataclass(slots=True)
class Side:
    """One engine, as production makes it, and its process."""

    threads: int
    engine: LocalEngine
    process: Path
    start_seconds: float
    idle_mb: int
    took: dict[int, Took] = field(default_factory=dict)
    voices: dict[int, int] = field(default_factory=dict)

    async def speak(self, note: Utterance, voices: list[EnrolledVoice]) -> None:
        """One note in each voice, all at once."""
        took = self.took.setdefault(len(voices), Took())
        before = cpu_seconds(self.process)
        for take in await asyncio.gather(*(spoken(self.engine, note, voice) for voice in voices)):
            took.add(*take)
        took.cpu_seconds += cpu_seconds(self.process) - before
        self.voices[len(voices)] = resident_mb(self.process)


async def started(threads: int) -> Side:
    others = workers()
    engine = LocalEngine(threads=threads)
    began = perf_counter()
    await engine.start()
    (process,) = workers() - others
    return Side(threads, engine, process, perf_counter() - began, resident_mb(process))


async def spoken(engine: LocalEngine, note: Utterance, voice: EnrolledVoice) -> tuple[float, float, float]:
    """Seconds to the first audio, seconds to the last, and seconds of audio."""
    asked, first, length = perf_counter(), 0.0, 0
    async with aclosing(engine.speak(note, voice)) as stream:
        async for chunk in stream:
            first = first or perf_counter() - asked
            length += len(chunk)
    return first, perf_counter() - asked, length / 2 / SAMPLE_RATE


async def different_voices(engine: LocalEngine, count: int) -> tuple[list[EnrolledVoice], float]:
    """The demo's reader from another word on each time, so that nothing is shared; and seconds for each."""
    sample, began = decoded(DEMO), perf_counter()
    turned = (np.roll(sample, -SAMPLE_RATE * at) for at in range(count))
    profiles = [await engine.enrol(sixteen_bit(signal), SAMPLE_RATE) for signal in turned]
    voices = [EnrolledVoice(f"v{at}", profile) for at, profile in enumerate(profiles)]
    return voices, (perf_counter() - began) / count


async def bench(threads: list[int], streams: list[int], language: str, rounds: int) -> None:
    note = Utterance(NOTES[language], language)
    sides = [await started(number) for number in threads]
    try:
        voices, enrol_seconds = await different_voices(sides[0].engine, max(streams))
        for count in sorted(streams):
            load = round(os.getloadavg()[0], 1)
            for _, side in product(range(rounds), sides):
                await side.speak(note, voices[:count])
            for side in sides:
                report.line(**what_it_took(side, count), language=language, load_average=load)
    finally:
        for side in sides:
            await side.engine.close()
    for side in sides:
        report.line(
            bench="speech",
            figure="memory",
            threads=side.threads,
            start_seconds=round(side.start_seconds, 2),
            enrol_seconds=round(enrol_seconds, 2),
            profile_bytes=len(voices[0].profile),
            idle_mb=side.idle_mb,
            **memory(side),
        )


def what_it_took(side: Side, streams: int) -> dict[str, Any]:
    took = side.took[streams]
    factors = took.real_time_factors
    return {
        "bench": "speech",
        "threads": side.threads,
        "streams": streams,
        "first_audio": report.percentiles(took.first_audio),
        "real_time_factor": round(median(factors), 3),
        "real_time_factor_slowest": round(max(factors), 3),
        "cpu_seconds_per_audio_second": round(took.cpu_seconds / took.audio_seconds, 3),
        "audio_seconds": round(took.audio_seconds / len(factors), 2),
    }


def memory(side: Side) -> dict[str, float]:
    """A voice's share is what the process grew by from the fewest voices to the most."""
    fewest, most = min(side.voices), max(side.voices)
    grown = (side.voices[most] - side.voices[fewest]) / max(1, most - fewest)
    return {"speaking_mb": side.voices[fewest], f"with_{most}_voices_mb": side.voices[most]} | (
        {"memory_per_voice_mb": round(grown, 2)} if most > fewest else {}
    )


def workers() -> set[Path]:
    """The engines' processes, as folders in /proc."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    children = " ".join(task.read_text() for task in tasks).split()
    processes = {Path(f"/proc/{child}") for child in children}
    return {process for process in processes if "spawn_main" in (process / "cmdline").read_text()}


def cpu_seconds(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(process: Path) -> int:
    rows = (process / "status").read_text().splitlines()
    return next(int(row.split()[1]) // 1024 for row in rows if row.startswith("VmRSS"))


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=5)
    # Beyond the engine's queue it would refuse, which is another question.
    arguments.add_argument("--streams", type=int, nargs="+", choices=range(1, 33), default=[1, 4, 16])
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--language", choices=list(NOTES), default="en")
    asked = arguments.parse_args()
    asyncio.run(bench(asked.threads, asked.streams, asked.language, asked.rounds))


if __name__ == "__main__":
    main()
