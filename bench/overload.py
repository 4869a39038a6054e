"""What is left of the main job when ten times as many ask for it as can be served?

First so many callers that the stack is never idle find its peak: whole memos a second. Then requests come by
the clock, whatever becomes of the earlier ones, ten times as many a second; each gives up after 20 s, as the
shipped client does. A refusal counts as honest when it is 429 or 503 with Retry-After. After the crowd has
gone, memos are asked for one by one until five in a row are as good as before it.

Providers are simulated, and as slow as the real ones unless --latency says otherwise. Ends with 1 when
goodput falls below 80 % of the peak, a refusal is not honest, or recovery takes more than 5 s.

    python -m bench.overload [--seconds 60] [--times 10] [--processes one many] [--callers 24] [--latency 1]
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count, cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import urllib3

from bench.contenders import OURS, Side, running
from bench.report import line, percentiles
from dev.performer import Performer, request

_GIVES_UP_SECONDS: Final = 20.0
# Refusals are quick, and places are few.
_MOST_AT_ONCE: Final = 200
_REFUSALS: Final = frozenset({429, 503})
_LEAST_GOODPUT: Final = 0.8
_LONGEST_RECOVERY_SECONDS: Final = 5.0
_GOOD_IN_A_ROW: Final = 5
_NEVER_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 1.0
_values = count(1)


@dataclass
class Seen:
    """What became of the requests of one part of the run."""

    codes: Counter[str] = field(default_factory=Counter)
    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    dishonest: int = 0
    # Of each process, the most that was seen.
    memory_mb: dict[str, float] = field(default_factory=dict)


class Door:
    """Where requests come from. From threads, by a client that takes less of the processor than the other
    benches': what a crowd costs its sender is not the stack's doing.
    """

    def __init__(self, url: str) -> None:
        self._http = urllib3.connection_from_url(url, maxsize=_MOST_AT_ONCE, retries=False)
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE)

    async def perform(self, performer: Performer, seen: Seen) -> float | None:
        """How long one memo took; None when there is none."""
        asked = perf_counter()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_GIVES_UP_SECONDS):
                answer = await loop.run_in_executor(self._threads, self._ask, performer)
        except (TimeoutError, urllib3.exceptions.HTTPError) as error:
            seen.codes[type(error).__name__] += 1
            return None
        took = perf_counter() - asked
        served = answer.status == HTTPStatus.OK
        seen.codes["200" if served else f"{answer.status} {answer.json()['error']}"] += 1
        if served:
            seen.served.append(took)
            return took
        if answer.status in _REFUSALS:
            seen.refused.append(took)
        if answer.status not in _REFUSALS or "retry-after" not in answer.headers:
            seen.dishonest += 1
        return None

    def _ask(self, performer: Performer) -> urllib3.BaseHTTPResponse:
        headers = {"authorization": performer.http.headers["authorization"]}
        body = request(f"number {next(_values)}", "numbers")
        timeout = _GIVES_UP_SECONDS
        return self._http.request("POST", "/v1/perform", json=body, headers=headers, timeout=timeout)


async def closed_loop(door: Door, performers: Sequence[Performer], seconds: float) -> Seen:
    """Every caller asks again as soon as it has its answer."""
    seen, until = Seen(), perf_counter() + seconds

    async def turns(performer: Performer) -> None:
        while perf_counter() < until:
            await door.perform(performer, seen)

    async with asyncio.TaskGroup() as group:
        for performer in performers:
            group.create_task(turns(performer))
    return seen


async def open_loop(door: Door, side: Side, per_second: float, seconds: float) -> Seen:
    """By the clock: a stack that falls behind gets no fewer requests for it."""
    seen, began = Seen(), perf_counter()
    async with _watched(side, seen), asyncio.TaskGroup() as group:
        for number, performer in enumerate(cycle(side.performers)):
            due = number / per_second
            if due > seconds:
                break
            await asyncio.sleep(max(0.0, began + due - perf_counter()))
            group.create_task(door.perform(performer, seen))
    return seen


@asynccontextmanager
async def _watched(side: Side, seen: Seen) -> AsyncIterator[None]:
    async def watch() -> None:
        while True:
            for process, needs in (await asyncio.to_thread(side.needs)).items():
                seen.memory_mb[process] = max(seen.memory_mb.get(process, 0.0), needs.memory_mb)
            await asyncio.sleep(_WATCH_SECONDS)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


async def recovery(door: Door, performer: Performer, usual_seconds: float) -> float:
    """Seconds until the first of five memos in a row that take no more than twice as long as before."""
    began, good = perf_counter(), list[float]()
    while len(good) < _GOOD_IN_A_ROW and perf_counter() - began < _NEVER_SECONDS:
        asked = perf_counter() - began
        took = await door.perform(performer, Seen())
        good = [*good, asked] if took is not None and took <= 2 * usual_seconds else []
    return good[0] if len(good) == _GOOD_IN_A_ROW else _NEVER_SECONDS


@dataclass(frozen=True)
class Outcome:
    processes: str
    seconds: float
    peak_per_second: float
    offered_per_second: float
    usual_seconds: float
    before_mb: dict[str, float]
    crowd: Seen
    recovery_seconds: float

    @property
    def goodput(self) -> float:
        """Of what the stack can do at best."""
        return len(self.crowd.served) / self.seconds / self.peak_per_second

    def faults(self) -> Iterator[str]:
        if self.goodput < _LEAST_GOODPUT:
            yield f"goodput is {self.goodput:.0%} of the peak"
        if self.crowd.dishonest:
            yield f"{self.crowd.dishonest} answers were neither a memo nor an honest refusal"
        if self.recovery_seconds > _LONGEST_RECOVERY_SECONDS:
            yield f"recovery took {self.recovery_seconds:.1f} s"

    def tell(self) -> None:
        said = {"bench": "overload", "processes": self.processes}
        line(
            **said,
            figure="goodput",
            of_peak=round(self.goodput, 3),
            peak_per_second=round(self.peak_per_second, 2),
            offered_per_second=round(self.offered_per_second, 1),
            seconds=self.seconds,
            codes=dict(self.crowd.codes),
            recovery_seconds=round(self.recovery_seconds, 2),
            usual_ms=round(self.usual_seconds * 1000),
            faults=list(self.faults()),
        )
        for figure, waits in (("served", self.crowd.served), ("refused", self.crowd.refused)):
            if waits:
                line(**said, figure=figure, **percentiles(waits))
        grown = {name: [round(self.before_mb.get(name, 0)), round(most)] for name, most in self._memory()}
        line(**said, figure="memory_mb", before_and_most=grown)

    def _memory(self) -> Iterator[tuple[str, float]]:
        yield from sorted(self.crowd.memory_mb.items())


async def overloaded(asked: argparse.Namespace, processes: str, data: Path) -> Outcome:
    async with AsyncExitStack() as entered:
        opened = running(processes, data, latency=asked.latency, flush=asked.flush)
        side = await entered.enter_async_context(opened)
        await side.sign_up(asked.callers, entered)
        door = Door(str(side.performers[0].http.base_url))
        await closed_loop(door, side.performers, asked.warm_seconds)
        alone = await closed_loop(door, side.performers[:1], asked.warm_seconds)
        peak = await closed_loop(door, side.performers, asked.peak_seconds)
        rate, usual = len(peak.served) / asked.peak_seconds, median(alone.served)
        before = {name: needs.memory_mb for name, needs in side.needs().items()}
        crowd = await open_loop(door, side, rate * asked.times, asked.seconds)
        back = await recovery(door, side.performers[0], usual)
    return Outcome(processes, asked.seconds, rate, rate * asked.times, usual, before, crowd, back)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the crowd")
    parser.add_argument("--times", type=float, default=10.0, help="what can be served")
    parser.add_argument("--callers", type=int, default=24, help="who find the peak")
    parser.add_argument("--warm-seconds", type=float, default=5.0)
    parser.add_argument("--peak-seconds", type=float, default=20.0)
    parser.add_argument("--processes", nargs="+", choices=OURS, default=["one"])
    parser.add_argument("--latency", type=float, default=1.0, help="times the vendors' own")
    parser.add_argument("--flush", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    failed = False
    for processes in asked.processes:
        with tempfile.TemporaryDirectory(prefix="newvisions-overload-") as data:
            outcome = asyncio.run(overloaded(asked, processes, Path(data)))
        outcome.tell()
        for fault in outcome.faults():
            failed = True
            sys.stderr.write(f"{processes}: {fault}\n")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
