"""How long the event loop keeps its tasks waiting: whatever blocks it makes somebody on a stage wait."""

import asyncio

import structlog
from prometheus_client import Histogram

log = structlog.get_logger()

LOOP_LAG_SECONDS = Histogram(
    "server_loop_lag_seconds",
    "By how much a task woke later than it asked for; asked ten times a second.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
_EVERY_SECONDS = 0.1
# Somebody should look for what took so long.
_TOLD_SECONDS = 0.5


async def watch_the_loop() -> None:
    loop = asyncio.get_running_loop()
    while True:
        asked = loop.time()
        await asyncio.sleep(_EVERY_SECONDS)
        lag = max(0.0, loop.time() - asked - _EVERY_SECONDS)
        LOOP_LAG_SECONDS.observe(lag)
        if lag > _TOLD_SECONDS:
            log.warning("event_loop_blocked", seconds=round(lag, 3))
