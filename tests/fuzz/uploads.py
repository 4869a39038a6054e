"""Does any recording crash, hang or fill the programs that examine recordings?

`python -m tests.fuzz.uploads --inputs 10000 --seed 1` sends damaged recordings through the service's own
examiners and prints one JSON line. A finding names its number: `--first NUMBER --inputs 1` repeats it.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from services.voice.examiners import Examiners, WorkerEnded, WorkerStuck
from services.voice.refusals import SampleRefused
from services.voice.uploads import from_body
from tests.fuzz.mutations import hostile

_WORKER: Final = b"services.voice.sample.worker"
# Of processor time: on a busy machine the clock on the wall says nothing about a recording.
MOST_CPU_SECONDS: Final = 5.0
MOST_MIB: Final = 700
# Far above the other, so that what takes long is seen to take long.
_WALL_SECONDS: Final = 60


@dataclass(slots=True)
class Found:
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[float, int] = (0.0, -1)
    # What should not be, by number.
    crashed: list[int] = field(default_factory=list)
    stuck: list[int] = field(default_factory=list)
    not_answered: list[int] = field(default_factory=list)

    @property
    def good(self) -> bool:
        bounded = self.slowest[0] <= MOST_CPU_SECONDS and self.largest[0] <= MOST_MIB
        return bounded and not (self.crashed or self.stuck or self.not_answered)

    def line(self) -> dict[str, Any]:
        return {
            "inputs": self.outcomes.total(),
            "good": self.good,
            "crashed": self.crashed,
            "stuck": self.stuck,
            "not_answered": self.not_answered,
            "most_cpu_seconds": {"seconds": round(self.slowest[0], 2), "input": self.slowest[1]},
            "most_memory_mib": {"mib": round(self.largest[0]), "input": self.largest[1]},
            "outcomes": dict(self.outcomes.most_common()),
        }


@dataclass(slots=True)
class _Lane:
    """A worker of its own, so that time and memory belong to one recording."""

    examiners: Examiners
    process: int
    cpu_seconds: float = 0.0


async def fuzz(seed: int, numbers: range, lanes: int) -> Found:
    found, waiting, running = Found(), iter(numbers), list[_Lane]()
    async with AsyncExitStack() as stack:
        for _ in range(lanes):
            examiners = Examiners(1, 1, _WALL_SECONDS)
            stack.push_async_callback(examiners.close)
            await examiners.start()
            running.append(_Lane(examiners, _new_worker(running)))
        async with asyncio.TaskGroup() as group:
            for lane in running:
                group.create_task(_examined(lane, running, seed, waiting, found))
    return found


async def _examined(
    lane: _Lane, running: list[_Lane], seed: int, waiting: Iterator[int], found: Found
) -> None:
    for number in waiting:
        found.outcomes[await _outcome(lane.examiners, seed, number, found)] += 1
        cpu, mib = _spent(lane.process)
        if not cpu:
            lane.process, lane.cpu_seconds = _new_worker(running), 0.0
        # The first one also pays for loading the program.
        if lane.cpu_seconds:
            found.slowest = max(found.slowest, (cpu - lane.cpu_seconds, number))
        found.largest = max(found.largest, (mib, number))
        lane.cpu_seconds = cpu


async def _outcome(examiners: Examiners, seed: int, number: int, found: Found) -> str:
    try:
        await examiners.examine(from_body("", hostile(seed, number)).recording)
    except SampleRefused as refusal:
        if isinstance(refusal.__cause__, WorkerStuck):
            found.stuck.append(number)
        elif isinstance(refusal.__cause__, WorkerEnded):
            found.crashed.append(number)
        return refusal.reason
    except Exception as error:
        found.not_answered.append(number)
        return type(error).__name__
    return "accepted"


def _new_worker(running: list[_Lane]) -> int:
    return min(set(workers()) - {lane.process for lane in running})


def workers() -> Iterator[int]:
    """The examining programs of this process."""
    mine = str(os.getpid())
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if parent == mine and state != "Z" and _WORKER in (process / "cmdline").read_bytes():
                yield int(process.name)


def _spent(process: int) -> tuple[float, float]:
    """Processor seconds so far, and the most memory it ever held, in MiB; zeros when it has ended."""
    with suppress(OSError):
        user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
        status = Path(f"/proc/{process}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) / 1024
    return 0.0, 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.uploads", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    started = monotonic()
    numbers = range(given.first, given.first + given.inputs)
    found = asyncio.run(fuzz(given.seed, numbers, given.workers))
    line = {"seed": given.seed, "seconds": round(monotonic() - started), **found.line()}
    sys.stdout.write(json.dumps(line) + "\n")
    return 0 if found.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
