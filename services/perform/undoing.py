"""Taking back what a performance began, when there is nothing to keep."""

import asyncio
from enum import Enum, auto

import structlog

from services.kernel.errors import ServiceError
from services.perform import saga
from services.perform.background import Background
from services.perform.domain import Failure, State, TimeLimits
from services.perform.ports import Clock, Ports
from services.perform.steps import Story, Take

log = structlog.get_logger()

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.25, 2.0


class Undone(Enum):
    NOW = auto()
    # It could not be undone yet, or it is not known whether there is something to undo.
    LATER = auto()
    # There is nothing to undo: it was kept, and only the answer to that was lost.
    KEPT = auto()


class Undoing:
    def __init__(
        self, ports: Ports, story: Story, background: Background, limits: TimeLimits, now: Clock
    ) -> None:
        self._performances = ports.performances
        self._story = story
        self._background = background
        self._limits = limits
        self._now = now

    async def undo(self, take: Take, state: State, failure: Failure) -> Undone:
        """Now, or in the background when that fails."""
        try:
            undone = await self._undo_once(take, state, failure)
        except ServiceError as error:
            log.warning(
                "performance_undo_delayed", performance_id=str(take.performance_id), cause=error.reason
            )
            self.start_later(take, state, failure)
            return Undone.LATER
        return Undone.NOW if undone else Undone.KEPT

    def start_later(self, take: Take, state: State, failure: Failure) -> None:
        self._background.start_retrying(self._undo_later(take, state, failure))

    async def _undo_once(self, take: Take, state: State, failure: Failure) -> bool:
        """False when it was kept after all; the sweeper ends it if nobody else does."""
        ours = await self._performances.begin_undo(take.performance_id)
        if not ours and await self._kept(take):
            return False
        take.keeping = False
        await saga.undo(self._story.until_kept, take)
        # Changes nothing when the sweeper wrote an outcome first.
        now = self._now()
        await self._performances.fail(take.performance_id, state, failure, now, now + self._limits.key)
        return True

    async def _undo_later(self, take: Take, state: State, failure: Failure) -> None:
        """A short stall of the database must not hold a key, or credits, until the sweeper comes."""
        give_up = self._now() + self._limits.performance
        pause = _FIRST_RETRY_SECONDS
        while self._now() < give_up:
            await asyncio.sleep(pause)
            try:
                await self._undo_once(take, state, failure)
                return
            except ServiceError:
                pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
        log.warning("performance_left_to_sweeper", performance_id=str(take.performance_id))

    async def _kept(self, take: Take) -> bool:
        """Also when the answer to keeping it was lost."""
        found = await self._performances.find(take.performance_id)
        return found is not None and found.recording is not None
