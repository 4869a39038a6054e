"""Finishes or undoes what a crash left half done, and removes what is kept no longer.

Any number of replicas may run one.
"""

import asyncio
from contextlib import suppress

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform import saga
from services.perform.domain import Failure, Patience, Performance, Phase, State
from services.perform.errors import PerformanceInterrupted
from services.perform.ports import Clock, Ports
from services.perform.recordings import Archive
from services.perform.steps import Story, Take

log = structlog.get_logger()

SWEPT = Counter("perform_swept_total", "Performances the sweeper ended, by what was left to do.", ["phase"])
_AT_ONCE = 32


class Sweeper:
    """An unfinished performance carries the moment from which it may be taken over. Moving that moment
    forward, only where it is still the old one, is the lease: the quickest replica has it."""

    def __init__(self, ports: Ports, story: Story, patience: Patience, now: Clock) -> None:
        self._performances = ports.performances
        self._recordings = ports.recordings
        self._blobs = ports.blobs
        self._story = story
        self._patience = patience
        self._now = now
        self._archive = Archive(ports, patience, now)

    async def keep_sweeping(self, interval_seconds: float, stop: asyncio.Event) -> None:
        """Until told to stop; then the round under way is finished. It is not cancelled: the database
        driver may swallow a cancellation that meets an answer."""
        while not stop.is_set():
            try:
                await self.sweep()
                await self._archive.retire()
            except ServiceError as error:
                log.warning("sweep_failed", cause=error.reason)
            except Exception:
                # A bug met in one round must not end all later ones, nor the services in this process.
                log.exception("sweep_crashed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), interval_seconds)

    async def sweep(self) -> int:
        """One round; returns how many performances it ended."""
        due = await self._performances.due(self._now(), _AT_ONCE)
        return sum(await asyncio.gather(*(self._end(performance) for performance in due)))

    async def _end(self, performance: Performance) -> bool:
        performance_id = str(performance.performance_id)
        try:
            if not await self._performances.take_over(performance, self._now() + self._patience.sweep):
                return False
            await self._recover(performance)
        except ServiceError as error:
            log.warning("recovery_failed", performance_id=performance_id, cause=error.reason)
            return False
        SWEPT.labels(performance.phase).inc()
        log.info("performance_recovered", performance_id=performance_id, phase=performance.phase)
        return True

    async def _recover(self, performance: Performance) -> None:
        take = Take(performance.performance_id, performance.user_id, performance.created_at)
        until = self._now() + self._patience.key
        if performance.phase is Phase.KEEPING and performance.recording is not None:
            take.recording = performance.recording
            await saga.press_on(self._story.after, take)
            if take.charge is not None:
                await self._performances.succeed(take.performance_id, take.charge)
        elif performance.phase is Phase.ERASING:
            await self._blobs.delete(take.user_id, take.performance_id)
            await self._recordings.forget(take.performance_id, until)
        else:
            await saga.undo(self._story.until_kept, take)
            failure = Failure.of(PerformanceInterrupted("The performance was interrupted."))
            await self._performances.fail(take.performance_id, State.FAILED, failure, until)
