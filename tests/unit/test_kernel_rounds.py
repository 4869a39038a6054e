"""Work that comes round goes on whatever one round brings, and each is counted."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar
from uuid import uuid4

from structlog.testing import capture_logs

from services.kernel.errors import Kind, ServiceError
from services.kernel.rounds import ROUNDS, again_and_again

AN_HOUR = 3600.0


class Away(ServiceError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    reason: ClassVar[str] = "AWAY"


def rounds(name: str) -> dict[str, float]:
    return {each: ROUNDS.labels(name, each)._value.get() for each in ("succeeded", "failed")}


async def come_round(name: str, steps: list[Callable[[], Awaitable[object]]], seconds: float) -> None:
    """Until every step was a round."""
    over = asyncio.Event()

    async def work() -> object:
        if not steps:
            over.set()
            return timedelta(seconds=AN_HOUR)
        return await steps.pop(0)()

    task = asyncio.create_task(again_and_again(name, work, seconds))
    async with asyncio.timeout(10):
        await over.wait()
    task.cancel()
    await asyncio.wait([task])


async def succeed() -> int:
    return 3


async def fail() -> None:
    raise Away("Away.")


async def crash() -> None:
    raise ZeroDivisionError


async def test_a_round_that_fails_or_crashes_is_counted_and_the_next_one_comes_all_the_same() -> None:
    name = uuid4().hex
    with capture_logs() as logs:
        await come_round(name, [fail, crash, succeed], 0.001)
    assert rounds(name) == {"succeeded": 2, "failed": 2}
    told = [(line["event"], line["work"]) for line in logs]
    assert told == [("round_failed", name), ("round_crashed", name)]


async def test_a_round_may_say_itself_when_the_next_one_is_due() -> None:
    async def soon() -> timedelta:
        return timedelta(milliseconds=1)

    name = uuid4().hex
    await come_round(name, [soon, soon], AN_HOUR)
    assert rounds(name) == {"succeeded": 3, "failed": 0}
