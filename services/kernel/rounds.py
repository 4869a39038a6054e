"""Work that belongs to no call and comes round every so often, in every replica."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError

log = structlog.get_logger()

ROUNDS: Final = Counter(
    "server_rounds_total",
    "Rounds of work that belongs to no call, by what came of them.",
    ["work", "outcome"],
)


async def again_and_again(name: str, work: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Until cancelled, with so many `seconds` between two rounds, or as long as the timedelta that a round
    returned. What a round could not do is left to the next one."""
    for outcome in ("succeeded", "failed"):
        # A count that begins with its first failure would hide that one from `increase`.
        ROUNDS.labels(name, outcome)
    while True:
        pause = await _round(name, work)
        await asyncio.sleep(pause.total_seconds() if isinstance(pause, timedelta) else seconds)


async def _round(name: str, work: Callable[[], Awaitable[object]]) -> object:
    try:
        pause = await work()
    except ServiceError as error:
        ROUNDS.labels(name, "failed").inc()
        log.warning("round_failed", work=name, cause=error.reason)
        return None
    except Exception:
        ROUNDS.labels(name, "failed").inc()
        # A bug met in one round must not end all later ones, nor the services in this process.
        log.exception("round_crashed", work=name)
        return None
    ROUNDS.labels(name, "succeeded").inc()
    return pause
