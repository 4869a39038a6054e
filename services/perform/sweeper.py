"""Finishes or undoes what a crash left half done.

Any number of replicas may run one.
"""

import asyncio
from collections.abc import Collection

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform.domain import Performance, Phase
from services.perform.ports import Clock, Performances
from services.perform.recovering import Recovery

log = structlog.get_logger()

SWEPT = Counter("perform_swept_total", "Performances the sweeper ended, by what was left to do.", ["phase"])
_AT_ONCE = 32
_LEFT_BY_CRASHES = (Phase.DOING, Phase.UNDOING, Phase.KEEPING)


class Sweeper:
    def __init__(self, performances: Performances, recovery: Recovery, now: Clock) -> None:
        self._performances = performances
        self._recovery = recovery
        self._now = now

    async def sweep(self) -> int:
        """One round; returns how many performances it ended. When some cannot be ended, all others are
        before it raises.

        All that crashes left, since somebody may be waiting for it. For what is purged nobody does, and
        there may be much of it: a part of it in each round.
        """
        outcomes: list[bool | BaseException] = []
        while True:
            some = await self._some(_LEFT_BY_CRASHES)
            outcomes += some
            # Those that it cannot end are its own for a while, or somebody else's.
            if len(some) < _AT_ONCE or True not in some:
                break
        outcomes += await self._some((Phase.PURGING,))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return outcomes.count(True)

    async def _some(self, phases: Collection[Phase]) -> list[bool | BaseException]:
        due = await self._performances.due(self._now(), phases, _AT_ONCE)
        return await asyncio.gather(*map(self._end, due), return_exceptions=True)

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
