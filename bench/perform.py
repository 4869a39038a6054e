"""How long does a performance take besides the speaking, and how long until a listener hears something?

Through the whole stack, gateway included, with the tone engine, all services in one process and one
process each, as callers are added. Speaking is what the speech service's own log says it took,
encoding included; "own" is the rest of the caller's wait, each database write with its flush.

    python -m bench.perform [--callers 1 16] [--each 40] [--processes one many]
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from time import perf_counter

from bench.report import line, percentiles
from dev.performer import Performer, accepted
from dev.stack import Stack

SAMPLE = Path(__file__).parent.parent / "demo" / "two-cities.mp3"
_SPEAKING = "newvisions.synthesis.v1.SynthesisService.Synthesize"
_WARM_UP = 5

_values = count(1)


async def performed(performer: Performer) -> tuple[str, float]:
    """The id of a whole perform, and how long its caller waited."""
    asked = perf_counter()
    answer = await performer.perform(f"number {next(_values)}", "numbers")
    waited = perf_counter() - asked
    accepted(answer)
    return answer.headers["x-request-id"], waited


async def first_audio(performer: Performer) -> tuple[str, float]:
    """How long a listener of a stream waited for the first byte; the rest is heard as well."""
    asked, waited = perf_counter(), 0.0
    async with performer.stream(f"number {next(_values)}", "numbers") as answer:
        if not answer.is_success:
            await answer.aread()
            accepted(answer)
        async for _ in answer.aiter_raw():
            waited = waited or perf_counter() - asked
        return answer.headers["x-request-id"], waited


async def in_turns(
    performers: Sequence[Performer], each: int, ask: Callable[[Performer], Awaitable[tuple[str, float]]]
) -> dict[str, float]:
    """Every caller asks `each` times, one after the other; the callers do so at once."""

    async def turns(performer: Performer) -> list[tuple[str, float]]:
        return [await ask(performer) for _ in range(each)]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(turns(performer)) for performer in performers]
    return dict(pair for task in tasks for pair in task.result())


def speaking(logs: Path, process: str) -> dict[str, float]:
    """How long the speech service was busy with each request."""
    rows = (logs / f"{process}.log").read_text().splitlines()
    events = (json.loads(row) for row in rows if _SPEAKING in row and row.startswith("{"))
    return {event["request_id"]: event["seconds"] for event in events}


async def crowd(stack: Stack, size: int, entered: AsyncExitStack) -> list[Performer]:
    """Signed-up users, each with a voice of their own."""
    performers = []
    for code in await stack.activation_codes(size):
        performer = await entered.enter_async_context(Performer.signed_up(stack.url, code))
        accepted(await performer.upload(SAMPLE.read_bytes()))
        performers.append(performer)
    return performers


async def measure(processes: str, callers: Sequence[int], each: int, data: Path) -> None:
    environment = {"AUTH_MONTHLY_LIMIT": "10000000"}
    stack = Stack(data, processes=processes, engine="tone", limits=None, environment=environment)
    async with stack, AsyncExitStack() as entered:
        performers = await crowd(stack, max(callers), entered)
        await in_turns(performers[:1], _WARM_UP, performed)
        await in_turns(performers[:1], _WARM_UP, first_audio)
        for number in callers:
            said = {"bench": "perform", "processes": processes, "callers": number}
            began = perf_counter()
            whole = await in_turns(performers[:number], each, performed)
            rate = round(len(whole) / (perf_counter() - began), 1)
            spoke = speaking(stack.logs, "synthesis" if processes == "many" else "services")
            own = [waited - spoke[request] for request, waited in whole.items()]
            line(**said, figure="whole_memo", per_second=rate, **percentiles(list(whole.values())))
            line(**said, figure="speaking", **percentiles([spoke[request] for request in whole]))
            line(**said, figure="own_overhead", **percentiles(own))
            heard = await in_turns(performers[:number], each, first_audio)
            line(**said, figure="first_audio", **percentiles(list(heard.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--each", type=int, default=40, help="performs of each caller")
    parser.add_argument("--processes", nargs="+", choices=["one", "many"], default=["one", "many"])
    asked = parser.parse_args()
    for processes in asked.processes:
        with tempfile.TemporaryDirectory(prefix="newvisions-bench-") as data:
            asyncio.run(measure(processes, asked.callers, asked.each, Path(data)))


if __name__ == "__main__":
    main()
