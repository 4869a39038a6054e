"""Finishes or undoes what a crash left half done.

Any number of replicas may run one.
"""

import asyncio

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform.domain import Performance, Phase
from services.perform.ports import Clock, Performances
from services.perform.recovering import Recovery

log = structlog.get_logger()

SWEPT = Counter("perform_swept_total", "Performances the sweeper ended, by what was left to do.", ["phase"])
_AT_ONCE = 32
# Somebody may be waiting for what a crash left; for what is purged nobody does, and there may be much of it.
_IN_ORDER = ((Phase.DOING, Phase.UNDOING, Phase.KEEPING), (Phase.PURGING,))


class Sweeper:
    def __init__(self, performances: Performances, recovery: Recovery, now: Clock) -> None:
        self._performances = performances
        self._recovery = recovery
        self._now = now

    async def sweep(self) -> int:
        """All that is due; returns how many performances it ended. When some cannot be ended, all others are
        before it raises."""
        ended, failures = 0, list[BaseException]()
        for phases in _IN_ORDER:
            while True:
                due = await self._performances.due(self._now(), phases, _AT_ONCE)
                outcomes = await asyncio.gather(*map(self._end, due), return_exceptions=True)
                failures += [each for each in outcomes if isinstance(each, BaseException)]
                ended_now = outcomes.count(True)
                ended += ended_now
                # Those that it cannot end stay due, or are somebody else's.
                if len(due) < _AT_ONCE or not ended_now:
                    break
        if failures:
            raise failures[0]
        return ended

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
