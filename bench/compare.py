"""How does the main job compare with a plain application that does it the obvious way?

Ours in one process and in many, one each, behind Envoy, and `bench/baseline`, FastAPI in one process with
nothing before it; the same simulated providers, which answer at once unless --latency says otherwise, the
same embedded database server, once with its flush of each write and once without. Rounds alternate sides. A
caller asks again as soon as it has its answer.

    whole memo     POST perform: latency, performs a second, processor time by program for each
    own overhead   of it, what is neither speaking nor mixing nor encoding; it holds the text model's answer
    first audio    POST perform:stream: until the first byte

A line of JSON for each on standard output, a table of all on standard error.

    python -m bench.compare [--callers 1 16 64] [--seconds 10] [--rounds 3] [--flush off on] [--latency 0]
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from bench.contenders import SIDES, Side, running
from bench.process_tree import Needs
from bench.report import line, percentiles
from dev.performer import Performer, accepted

_WARM_UP_SECONDS = 2.0
# What a caller waits who was refused or failed, before it asks again.
_PAUSE_SECONDS = 1.0
_BUSY = {429, 500, 502, 503, 504}
_values = count(1)

# The request's id, and what its caller waited; None when it got no memo.
Ask = Callable[[Performer], Awaitable[tuple[str, float] | None]]


async def whole_memo(performer: Performer) -> tuple[str, float] | None:
    asked = perf_counter()
    answer = await performer.perform(f"number {next(_values)}", "numbers")
    waited = perf_counter() - asked
    return (answer.headers["x-request-id"], waited) if _given(answer) else None


async def first_audio(performer: Performer) -> tuple[str, float] | None:
    """The rest is heard as well."""
    asked, waited = perf_counter(), 0.0
    async with performer.stream(f"number {next(_values)}", "numbers") as answer:
        if not answer.is_success:
            await answer.aread()
        if not _given(answer):
            return None
        async for _ in answer.aiter_raw():
            waited = waited or perf_counter() - asked
        return answer.headers["x-request-id"], waited


def _given(answer: httpx.Response) -> bool:
    """Whether there is a memo. A side that is busy or too slow says so; all else is a mistake of ours."""
    if not answer.is_success and answer.status_code not in _BUSY:
        accepted(answer)
    return answer.is_success


async def _answered(ask: Ask, performer: Performer) -> tuple[str, float] | None:
    """None also when the connection was cut."""
    try:
        return await ask(performer)
    except httpx.HTTPError:
        return None


@dataclass
class Figures:
    """Of one side with so many callers, all rounds together."""

    waits: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)

    def took(self, before: dict[str, Needs], after: dict[str, Needs], seconds: float) -> None:
        self.seconds += seconds
        for name, needs in after.items():
            spent = needs.cpu_seconds - before.get(name, Needs()).cpu_seconds
            self.cpu[name] = self.cpu.get(name, 0.0) + spent
            self.memory_mb[name] = max(self.memory_mb.get(name, 0.0), needs.memory_mb)

    @property
    def per_second(self) -> float:
        return len(self.waits) / self.seconds

    def cpu_ms(self) -> dict[str, float]:
        """For each perform, by program, without the provider, which is not ours to make faster."""
        asked = len(self.waits) or 1
        return {name: spent / asked * 1000 for name, spent in self.cpu.items() if name != "simulator"}

    def memory(self) -> float:
        return sum(size for name, size in self.memory_mb.items() if name != "simulator")


async def measured(side: Side, callers: int, ask: Ask, seconds: float, figures: Figures) -> None:
    """Every caller asks, one after the other, until the time is over; the callers do so at once."""
    before, began = side.needs(), perf_counter()

    async def turns(performer: Performer) -> None:
        while perf_counter() - began < seconds:
            # Whoever was refused has waited since they first asked.
            first_asked = asked = perf_counter()
            while (answered := await _answered(ask, performer)) is None:
                figures.refused += 1
                await asyncio.sleep(_PAUSE_SECONDS)
                asked = perf_counter()
            request, waited = answered
            figures.waits[request] = asked - first_asked + waited

    async with asyncio.TaskGroup() as group:
        for performer in side.performers[:callers]:
            group.create_task(turns(performer))
    figures.took(before, side.needs(), perf_counter() - began)


@dataclass
class Result:
    flush: bool
    side: str
    callers: int
    whole: Figures = field(default_factory=Figures)
    first: Figures = field(default_factory=Figures)
    own: list[float] = field(default_factory=list)
    own_but_text: list[float] = field(default_factory=list)

    def told(self, said: dict[str, Any]) -> None:
        load = round(os.getloadavg()[0], 1)
        said = {**said, "flush": self.flush, "side": self.side, "callers": self.callers, "load": load}
        line(
            **said,
            figure="whole_memo",
            per_second=round(self.whole.per_second, 2),
            refused=self.whole.refused,
            cpu_ms=_rounded(self.whole.cpu_ms()),
            memory_mb=_rounded(self.whole.memory_mb),
            **percentiles(list(self.whole.waits.values())),
        )
        line(**said, figure="own_overhead", **percentiles(self.own))
        line(**said, figure="own_overhead_but_text", **percentiles(self.own_but_text))
        waits = list(self.first.waits.values())
        line(**said, figure="first_audio", refused=self.first.refused, **percentiles(waits))

    def row(self) -> str:
        return _row(
            "yes" if self.flush else "no",
            self.side,
            str(self.callers),
            *map(_ms, (list(self.first.waits.values()), list(self.whole.waits.values()), self.own)),
            f"{self.whole.per_second:.1f}",
            f"{sum(self.whole.cpu_ms().values()):.0f}",
            f"{self.whole.memory():.0f}",
            str(self.whole.refused + self.first.refused),
        )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


_COLUMNS = (
    *("flush", "side", "callers", "first audio, ms", "whole memo, ms", "own overhead, ms"),
    *("a second", "CPU, ms", "MB", "refused"),
)


def _ms(seconds: list[float]) -> str:
    taken = percentiles(seconds)
    return " / ".join(f"{taken[f'p{share}_ms']:.0f}" for share in (50, 95, 99))


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in sorted(figures.items())}


async def compared(asked: argparse.Namespace, flush: bool, data: Path) -> list[Result]:
    results = [Result(flush, side, callers) for callers in asked.callers for side in asked.sides]
    async with AsyncExitStack() as entered:
        sides = {}
        for name in asked.sides:
            side = await entered.enter_async_context(
                running(name, data / name, latency=asked.latency, flush=flush)
            )
            await side.sign_up(max(asked.callers), entered)
            for ask in (whole_memo, first_audio):
                await measured(side, 1, ask, _WARM_UP_SECONDS, Figures())
            sides[name] = side
        for number in range(asked.rounds):
            for result in _alternating(results, number):
                side = sides[result.side]
                await measured(side, result.callers, whole_memo, asked.seconds, result.whole)
                await measured(side, result.callers, first_audio, asked.seconds, result.first)
        for result in results:
            _split(result, sides[result.side])
    return results


def _alternating(results: list[Result], number: int) -> Iterator[Result]:
    """The last becomes the first: whoever goes first has a machine that is still cool."""
    yield from results if number % 2 == 0 else reversed(results)


def _split(result: Result, side: Side) -> None:
    parts = side.parts()
    for request, waited in result.whole.waits.items():
        if (taken := parts.get(request)) is None:
            # It was answered from an earlier request, whose connection was cut.
            continue
        result.own.append(waited - taken.speaking)
        result.own_but_text.append(waited - taken.speaking - taken.composing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each kind of request in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flush", nargs="+", choices=["off", "on"], default=["off", "on"])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--latency", type=float, default=0.0, help="times the vendors' own")
    asked = parser.parse_args()
    results = []
    for flush in asked.flush:
        with tempfile.TemporaryDirectory(prefix="newvisions-compare-") as data:
            results += asyncio.run(compared(asked, flush == "on", Path(data)))
    for result in results:
        result.told({"bench": "compare", "latency": asked.latency})
    head = [_row(*_COLUMNS), _row(*("---" for _ in _COLUMNS))]
    sys.stderr.write("\n".join([*head, *(result.row() for result in results)]) + "\n")


if __name__ == "__main__":
    main()
