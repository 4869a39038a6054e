"""Does anything grow when the stack performs for a long time?

A few users perform at a modest rate, two memos of three whole and one streamed, and look at their
recordings now and then. Every ten seconds memory, open files and threads of each process are read, and how
long the event loop kept its tasks waiting; every minute is a line of JSON. At the end a table tells, for
each figure, how fast it grew in the last two thirds of the run; the first third is the warming up.

Ends with 1 when something leaks, by the limits below, or when more than one request in a hundred failed. The
database and the cache hold more with every performance, and are shown without a verdict, as is the
simulator. So is everything in a run of less than 10 minutes: pools and caches still fill.

    python -m bench.soak --minutes 30 [--rate 2] [--callers 8] [--processes one many] [--latency 1]
"""

import argparse
import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import linear_regression, median
from time import monotonic, perf_counter
from typing import Final

import httpx

from bench.contenders import OURS, Side, running
from bench.report import line, percentiles
from dev.performer import Performer

_SAMPLE_SECONDS: Final = 10.0
# A run of 10 minutes, less what passes until the first figure of a minute is there.
_LEAST_JUDGED_SECONDS: Final = 8.9 * 60
# Well before an access token runs out.
_LOGIN_SECONDS: Final = 1200.0
_LOOK_EVERY: Final = 10
_NOT_OURS: Final = frozenset({"mongo", "valkey", "simulator"})
_MOST_FAILED: Final = 0.01


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure may gain from the middle third of the run to the last."""

    least: float
    share: float


# Allocators keep what they had at their peak, so a few megabytes and percent are no leak in half an hour.
_LIMITS: Final = {
    "memory_mb": Limit(8.0, 0.04),
    "files": Limit(3, 0.0),
    "threads": Limit(1, 0.0),
    "p99_ms": Limit(100.0, 0.5),
    "loop_lag_p99_ms": Limit(20.0, 0.5),
}


@dataclass
class Series:
    """One figure as time went on."""

    at: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at: float, value: float) -> None:
        self.at.append(at)
        self.values.append(value)

    @property
    def tellable(self) -> bool:
        return len(self.values) >= 6

    @property
    def judgeable(self) -> bool:
        """Long enough to tell a leak from pools and caches that fill."""
        return self.tellable and self.at[-1] - self.at[0] >= _LEAST_JUDGED_SECONDS

    def per_hour(self) -> float:
        """By least squares over the last two thirds."""
        warm = len(self.at) // 3
        return linear_regression(self.at[warm:], self.values[warm:]).slope * 3600

    def gain(self) -> float:
        third = len(self.values) // 3
        return median(self.values[-third:]) - median(self.values[third : 2 * third])

    def leaks(self, limit: Limit) -> bool:
        """Grown by the middle of its thirds, and along the whole: one bad minute is neither."""
        grown = self.gain() > max(limit.least, limit.share * median(self.values))
        return grown and self.per_hour() > 0


@dataclass
class Watch:
    """All that is seen during a run."""

    began: float = field(default_factory=monotonic)
    series: defaultdict[tuple[str, str], Series] = field(default_factory=lambda: defaultdict(Series))
    waits: list[float] = field(default_factory=list)
    answered: int = 0
    failures: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def see(self, process: str, figure: str, value: float) -> None:
        self.series[process, figure].add(monotonic() - self.began, value)

    def leaks(self) -> Iterator[tuple[str, str]]:
        for (process, figure), series in self.series.items():
            if process not in _NOT_OURS and series.judgeable and series.leaks(_LIMITS[figure]):
                yield process, figure


async def perform_now_and_then(performer: Performer, every: float, watch: Watch) -> None:
    """By the clock, so that a slow answer is not followed by fewer questions."""
    due = logged_in = monotonic()
    for turn in count(1):
        await asyncio.sleep(max(0.0, due - monotonic()))
        due += every
        if monotonic() - logged_in > _LOGIN_SECONDS:
            await Performer.logged_in(performer.http, performer.username)
            logged_in = monotonic()
        asked = perf_counter()
        try:
            status = await _asked(performer, turn)
        except httpx.HTTPError as error:
            watch.failures[type(error).__name__] += 1
            continue
        if status == httpx.codes.OK:
            watch.answered += 1
            watch.waits.append(perf_counter() - asked)
        else:
            watch.failures[str(status)] += 1


async def _asked(performer: Performer, turn: int) -> int:
    if turn % _LOOK_EVERY == 0:
        return (await performer.http.get("/v1/recordings")).status_code
    if turn % 3:
        return (await performer.perform(f"number {turn}", "numbers")).status_code
    async with performer.stream(f"number {turn}", "numbers", background_sound=True) as answer:
        async for _ in answer.aiter_raw():
            pass
        return answer.status_code


class LoopLag:
    """The 99th percentile of the event loop's delays since it was last asked for, by the process' metrics."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before: dict[float, float] = {}

    async def p99_ms(self, http: httpx.AsyncClient) -> float | None:
        text = (await http.get(self._url)).text
        counts = dict(_buckets(text))
        new = {bound: total - self._before.get(bound, 0.0) for bound, total in counts.items()}
        self._before = counts
        samples = new.get(float("inf"), 0.0)
        if not samples:
            return None
        reached = min(bound for bound, total in new.items() if total >= 0.99 * samples)
        # What is beyond the last bucket counts as twice that.
        return 1000 * min(reached, 2 * max(bound for bound in new if bound != float("inf")))


def _buckets(metrics: str) -> Iterator[tuple[float, float]]:
    for row in metrics.splitlines():
        if row.startswith("server_loop_lag_seconds_bucket"):
            bound = row.partition('le="')[2].partition('"')[0]
            yield float(bound), float(row.rpartition(" ")[2])


async def sample(side: Side, watch: Watch) -> None:
    lags = {process: LoopLag(url) for process, url in side.metrics.items()}
    async with httpx.AsyncClient(timeout=5) as http:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            for process, needs in (await asyncio.to_thread(side.needs)).items():
                watch.see(process, "memory_mb", needs.memory_mb)
                watch.see(process, "files", needs.files)
                watch.see(process, "threads", needs.threads)
            for process, lag in lags.items():
                if (late := await lag.p99_ms(http)) is not None:
                    watch.see(process, "loop_lag_p99_ms", late)


async def tell_minutes(watch: Watch, said: dict[str, object]) -> None:
    for minute in count(1):
        await asyncio.sleep(60.0)
        waits, watch.waits = watch.waits, []
        if not waits:
            line(**said, minute=minute, count=0, failures=dict(watch.failures))
            continue
        taken = percentiles(waits)
        watch.see("callers", "p99_ms", taken["p99_ms"])
        now = {
            f"{process} {figure}": round(seen.values[-1], 1) for (process, figure), seen in _sampled(watch)
        }
        line(**said, minute=minute, **taken, failures=dict(watch.failures), now=now)


def _sampled(watch: Watch) -> Iterator[tuple[tuple[str, str], Series]]:
    return ((key, seen) for key, seen in sorted(watch.series.items()) if key[0] != "callers")


async def soaked(asked: argparse.Namespace, processes: str, data: Path) -> Watch:
    said: dict[str, object] = {"bench": "soak", "processes": processes, "rate": asked.rate}
    async with AsyncExitStack() as entered:
        opened = running(processes, data, latency=asked.latency, flush=True)
        side = await entered.enter_async_context(opened)
        await side.sign_up(asked.callers, entered)
        watch = Watch()
        work = [perform_now_and_then(each, asked.callers / asked.rate, watch) for each in side.performers]
        work += [sample(side, watch), tell_minutes(watch, said)]
        # A little more than the minutes: the last one is told as well.
        try:
            async with asyncio.timeout(asked.minutes * 60 + 1):
                await asyncio.gather(*work)
        except TimeoutError:
            return watch
    raise AssertionError("the work of a soak has no end of its own")


def table(watch: Watch) -> list[str]:
    leaks = set(watch.leaks())
    rows = ["| process | figure | first | last | an hour | verdict |", "|---|---|---|---|---|---|"]
    for (process, figure), seen in sorted(watch.series.items()):
        if not seen.tellable:
            continue
        judged = process not in _NOT_OURS and seen.judgeable
        verdict = "LEAKS" if (process, figure) in leaks else "flat" if judged else "not judged"
        first, last = seen.values[len(seen.values) // 3], seen.values[-1]
        rows.append(
            f"| {process} | {figure} | {first:.1f} | {last:.1f} | {seen.per_hour():+.1f} | {verdict} |"
        )
    return rows


def verdict(watch: Watch, processes: str) -> int:
    leaks, asked = sorted(watch.leaks()), watch.answered + watch.failed
    broken = not watch.answered or watch.failed > _MOST_FAILED * asked
    heading = f"{processes}: {asked} requests, {watch.failed} failed {dict(watch.failures)}"
    sys.stderr.write("\n".join([heading, *table(watch)]) + "\n")
    line(
        bench="soak",
        processes=processes,
        answered=watch.answered,
        failed=watch.failed,
        leaks=[" ".join(each) for each in leaks],
    )
    return 1 if leaks or broken else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second, of all callers together")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--processes", nargs="+", choices=OURS, default=["one"])
    parser.add_argument("--latency", type=float, default=1.0, help="times the vendors' own")
    asked = parser.parse_args()
    failed = 0
    for processes in asked.processes:
        with tempfile.TemporaryDirectory(prefix="newvisions-soak-") as data:
            watch = asyncio.run(soaked(asked, processes, Path(data)))
        failed |= verdict(watch, processes)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
