"""Work that belongs to no call.

Expired reservations are given back, new signing keys met, erasures gone on with, what is old removed.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter

from services.auth.composition import Built, clock
from services.auth.domain.errors import StorageUnavailable
from services.auth.everywhere import Everywhere

log = structlog.get_logger()

SWEEPS = Counter("auth_sweeps_total", "Rounds of the sweeper, by outcome.", ["outcome"])


# An erasure may take so long at a stretch; below the lease under which a replica works on it.
_ERASING_SECONDS = 45.0


async def sweep(built: Built, seconds: float) -> None:
    """Every replica sweeps; conditional updates give each reservation back once."""

    async def work() -> None:
        await built.ask.credits.return_expired(clock())
        await built.ask.keys.drop_ended(clock())

    await _again_and_again(work, seconds)


async def erase_and_retire(everywhere: Everywhere, seconds: float) -> None:
    """Apart from the other rounds: a service that answers slowly holds nobody's credits back."""

    async def work() -> None:
        await everywhere.erasures.resume(clock(), _ERASING_SECONDS)
        await everywhere.retention.enforce(everywhere.erasures, clock(), _ERASING_SECONDS)

    await _again_and_again(work, seconds)


async def _again_and_again(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await work()
        except StorageUnavailable:
            # The store has said so in the log; the next round catches up.
            SWEEPS.labels("failed").inc()
        except Exception:
            SWEEPS.labels("failed").inc()
            log.exception("sweep_crashed")
        else:
            SWEEPS.labels("succeeded").inc()
        await asyncio.sleep(seconds)
