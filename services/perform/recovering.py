"""Ending what somebody else began and did not end: by the sweeper, or by who waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from services.perform import saga
from services.perform.background import Background
from services.perform.domain import Failure, Performance, Phase, State, TimeLimits
from services.perform.errors import PerformanceInterrupted
from services.perform.ports import Clock, Ports
from services.perform.steps import Story, Take

log = structlog.get_logger()


class Recovery:
    """An unfinished performance carries the moment from which it may be taken over. Moving that moment
    forward, only where it is still the old one, is the lease: the quickest has it, in whatever process.

    One for a process: what it performs itself is not recovered by it, whatever its clock says.
    """

    def __init__(
        self, ports: Ports, story: Story, background: Background, limits: TimeLimits, now: Clock
    ) -> None:
        self._performances = ports.performances
        self._recordings = ports.recordings
        self._blobs = ports.blobs
        self._story = story
        self._background = background
        self._limits = limits
        self._now = now
        self._alive: set[UUID] = set()

    @contextmanager
    def alive(self, performance_id: UUID) -> Iterator[None]:
        """This process performs it meanwhile, and ends it. A clock that jumps ahead says that it died."""
        self._alive.add(performance_id)
        try:
            yield
        finally:
            self._alive.discard(performance_id)

    async def recover(self, performance: Performance) -> bool:
        """Finish or undo it; false when it is not due, or somebody else was quicker."""
        now = self._now()
        due = performance.due_at is not None and performance.due_at <= now
        if not due or performance.performance_id in self._alive:
            return False
        if not await self._performances.take_over(performance, now + self._limits.takeover):
            return False
        await self._end(performance)
        log.info(
            "performance_recovered",
            performance_id=str(performance.performance_id),
            phase=performance.phase,
        )
        return True

    async def _end(self, performance: Performance) -> None:
        take = Take.left_by(performance)
        if performance.phase is Phase.KEEPING and performance.recording is not None:
            take.recording = performance.recording
            self._background.start(self._story.let_go(take))
            await saga.run(self._story.after, take)
            if take.charge is not None:
                await self._performances.succeed(take.performance_id, take.charge, self._now())
        elif performance.phase is Phase.PURGING:
            await self._blobs.delete(take.user_id, take.performance_id)
            await self._recordings.forget(take.performance_id, self._now() + self._limits.key)
        else:
            await saga.undo(self._story.until_kept, take)
            failure = Failure.of(PerformanceInterrupted("The performance was interrupted."))
            now = self._now()
            until = now + self._limits.key
            await self._performances.fail(take.performance_id, State.FAILED, failure, now, until)
