"""Erasing a user: all performances, also those under way, and all audio."""

from dataclasses import dataclass

import structlog

from services.kernel.errors import Kind, ServiceError
from services.perform import saga
from services.perform.domain import Performance, Phase
from services.perform.ports import Ports
from services.perform.steps import Story, Take

log = structlog.get_logger()

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call found. Not `done` while there may be more."""

    performances: int
    recordings: int
    blobs: int
    done: bool


class Erasing:
    def __init__(self, ports: Ports, story: Story) -> None:
        self._performances = ports.performances
        self._blobs = ports.blobs
        self._story = story

    async def erase_user(self, user_id: str, erasure_id: str) -> Erased:
        """A bounded part, the audio before the documents that lead to it. Safe to repeat."""
        found = await self._performances.of_user(user_id, _AT_ONCE)
        # All of it at once: also what a process left that died between storing and keeping.
        blobs = await self._blobs.delete_all(user_id)
        for performance in found:
            await self._end(performance)
            await self._performances.remove(performance.performance_id)
        recordings = sum(performance.recording is not None for performance in found)
        erased = Erased(len(found), recordings, blobs, done=len(found) < _AT_ONCE)
        log.info("user_erased", erasure_id=erasure_id, performances=len(found), done=erased.done)
        return erased

    async def _end(self, performance: Performance) -> None:
        """Nothing stays reserved or leased for what is erased; one under way cannot be kept any more."""
        take = Take.left_by(performance)
        if performance.phase is Phase.DOING:
            await self._performances.begin_undo(performance.performance_id)
        if performance.phase in {Phase.DOING, Phase.UNDOING}:
            await saga.undo(self._story.until_kept, take)
        elif performance.phase is Phase.KEEPING and performance.recording is not None:
            take.recording = performance.recording
            await self._pay(take)

    async def _pay(self, take: Take) -> None:
        await self._story.let_go(take)
        try:
            await saga.run(self._story.after, take)
        except ServiceError as error:
            # The account is closed: its reservation expires by itself.
            if error.kind is not Kind.NOT_FOUND:
                raise
