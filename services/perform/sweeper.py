"""Finishes or undoes what a crash left half done, and removes what is kept no longer.

Any number of replicas may run one.
"""

import asyncio
from contextlib import suppress

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform.domain import Patience, Performance
from services.perform.orphans import SWEEP_ERRORS
from services.perform.ports import Clock, Ports
from services.perform.recordings import Archive
from services.perform.recovering import Recovery
from services.perform.steps import Story

log = structlog.get_logger()

SWEPT = Counter("perform_swept_total", "Performances the sweeper ended, by what was left to do.", ["phase"])
_AT_ONCE = 32


class Sweeper:
    def __init__(self, ports: Ports, story: Story, patience: Patience, now: Clock) -> None:
        self._performances = ports.performances
        self._now = now
        self._recovery = Recovery(ports, story, patience, now)
        self._archive = Archive(ports, patience, now)

    async def keep_sweeping(self, interval_seconds: float, stop: asyncio.Event) -> None:
        """Until told to stop; then the round under way is finished. It is not cancelled: the database
        driver may swallow a cancellation that meets an answer."""
        while not stop.is_set():
            try:
                await self.sweep()
                await self._archive.retire()
            except ServiceError as error:
                SWEEP_ERRORS.labels("round").inc()
                log.warning("sweep_failed", cause=error.reason)
            except Exception:
                SWEEP_ERRORS.labels("round").inc()
                # A bug met in one round must not end all later ones, nor the services in this process.
                log.exception("sweep_crashed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), interval_seconds)

    async def sweep(self) -> int:
        """One round; returns how many performances it ended."""
        due = await self._performances.due(self._now(), _AT_ONCE)
        return sum(await asyncio.gather(*(self._end(performance) for performance in due)))

    async def _end(self, performance: Performance) -> bool:
        try:
            ended = await self._recovery.recover(performance)
        except ServiceError as error:
            SWEEP_ERRORS.labels("recovery").inc()
            performance_id = str(performance.performance_id)
            log.warning("recovery_failed", performance_id=performance_id, cause=error.reason)
            return False
        if ended:
            SWEPT.labels(performance.phase).inc()
        return ended
