"""Work that belongs to no call: giving back expired reservations, meeting new signing keys."""

import asyncio

import structlog
from prometheus_client import Counter

from services.auth.composition import Built, clock
from services.auth.domain.errors import StorageUnavailable

log = structlog.get_logger()

SWEEPS = Counter("auth_sweeps_total", "Rounds of the sweeper, by outcome.", ["outcome"])


async def sweep(built: Built, seconds: float) -> None:
    """Every replica sweeps; conditional updates give each reservation back once."""
    while True:
        try:
            await built.ask.credits.return_expired(clock())
            await built.ask.keys.drop_ended(clock())
        except StorageUnavailable:
            # The store has said so in the log; the next round catches up.
            SWEEPS.labels("failed").inc()
        except Exception:
            SWEEPS.labels("failed").inc()
            log.exception("sweep_crashed")
        else:
            SWEEPS.labels("succeeded").inc()
        await asyncio.sleep(seconds)
