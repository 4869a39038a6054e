"""Finishes or undoes what a crash left half done.

Any number of replicas may run one.
"""

import asyncio

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform.background import Background
from services.perform.domain import Performance, TimeLimits
from services.perform.ports import Clock, Ports
from services.perform.recovering import Recovery
from services.perform.steps import Story

log = structlog.get_logger()

SWEPT = Counter("perform_swept_total", "Performances the sweeper ended, by what was left to do.", ["phase"])
_AT_ONCE = 32


class Sweeper:
    def __init__(
        self, ports: Ports, story: Story, background: Background, limits: TimeLimits, now: Clock
    ) -> None:
        self._performances = ports.performances
        self._now = now
        self._recovery = Recovery(ports, story, background, limits, now)

    async def sweep(self) -> int:
        """One round; returns how many performances it ended. When some cannot be ended, all others are
        before it raises."""
        due = await self._performances.due(self._now(), _AT_ONCE)
        ended = await asyncio.gather(*map(self._end, due), return_exceptions=True)
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure
        return sum(each is True for each in ended)

    async def _end(self, performance: Performance) -> bool:
        try:
            ended = await self._recovery.recover(performance)
        except ServiceError as error:
            performance_id = str(performance.performance_id)
            log.warning("recovery_failed", performance_id=performance_id, cause=error.reason)
            raise
        if ended:
            SWEPT.labels(performance.phase).inc()
        return ended
