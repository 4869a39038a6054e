"""One of many requests performs; the others wait for its outcome."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

import structlog

from services.kernel.errors import ServiceError
from services.kernel.replay import KeyReused
from services.perform.domain import Failure, Order, Performance, Phase, State, TimeLimits
from services.perform.errors import (
    CallerLeft,
    PerformanceInterrupted,
    StillPerforming,
    of_performance,
)
from services.perform.places import Places
from services.perform.ports import Clock, Ports
from services.perform.recovering import Recovery
from services.perform.steps import Take
from services.perform.undoing import Undoing

log = structlog.get_logger()

_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.01, 0.25


@dataclass(frozen=True, slots=True)
class Request:
    """One call: its own id, who asks for what, under which Idempotency-Key (empty for none), and how long
    it waits for an outcome."""

    performance_id: UUID
    user_id: str
    order: Order
    key: str
    join_seconds: float


class Claiming:
    def __init__(
        self, ports: Ports, recovery: Recovery, undoing: Undoing, limits: TimeLimits, now: Clock
    ) -> None:
        self._performances = ports.performances
        self._recovery = recovery
        self._undoing = undoing
        self._limits = limits
        self._now = now

    async def claim(self, request: Request, give_up: float, places: Places) -> Take | Performance:
        """A new take, or the earlier performance that has the outcome. Waits until `give_up`, by the loop's
        clock. Raises PerformBusy when there is no place for one more, soon enough; who waits for another
        one's outcome needs none."""
        while True:
            take = Take(request.performance_id, request.user_id, self._now(), bool(request.key))
            take.order = request.order
            holder = await self._placed(request, take, places)
            if holder is None:
                return take
            if self._expired(holder):
                await self._performances.free_key(holder.performance_id)
                continue
            if holder.fingerprint != request.order.fingerprint:
                raise KeyReused("This Idempotency-Key was used for another request.")
            ended = await self._outcome_of(holder.performance_id, give_up)
            if ended is not None and not _came_to_nothing(ended):
                log.info("performance_joined", performance_id=str(ended.performance_id), state=ended.state)
                return ended

    async def _placed(self, request: Request, take: Take, places: Places) -> Performance | None:
        """Written down, with a place; or the holder of its key, who is waited for without one."""
        if not places.is_free and (holder := await self._performances.holder(self._new(request))):
            return holder
        with await places.next() as place:
            take.placed_clock = perf_counter()
            holder = await self._written_down(request, take)
            if holder is None:
                take.place = place.pop_all()
            return holder

    async def _written_down(self, request: Request, take: Take) -> Performance | None:
        try:
            return await self._performances.claim(self._new(request))
        except (ServiceError, asyncio.CancelledError) as error:
            # The claim may have been written all the same.
            cause: ServiceError = CallerLeft("The caller left.")
            state = State.CANCELLED
            if isinstance(error, ServiceError):
                cause, state = error, State.FAILED
            self._undoing.start_later(take, state, Failure.of(cause))
            raise

    def _new(self, request: Request) -> Performance:
        now = self._now()
        return Performance(
            performance_id=request.performance_id,
            user_id=request.user_id,
            key=request.key,
            fingerprint=request.order.fingerprint,
            created_at=now,
            state=State.RUNNING,
            phase=Phase.DOING,
            due_at=now + self._limits.takeover,
        )

    def _expired(self, holder: Performance) -> bool:
        """One still under way keeps its key however old it is."""
        if holder.under_way:
            return False
        if holder.key:
            return self._now() - holder.created_at > self._limits.key
        too_late = self._now() - (holder.ended_at or holder.created_at) > self._limits.unheard
        return too_late or not holder.has_recording

    async def _outcome_of(self, performance_id: UUID, give_up: float) -> Performance | None:
        """Waits across processes, and ends what a process left that died; None when there is nothing to
        wait for any more."""
        pause = _POLL_SECONDS
        while True:
            found = await self._performances.find(performance_id)
            if found is None or not found.under_way:
                return found
            left = give_up - asyncio.get_running_loop().time()
            if left <= 0:
                raise still_performing(performance_id)
            if await self._recovered(found):
                continue
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)

    async def _recovered(self, found: Performance) -> bool:
        try:
            return await self._recovery.recover(found)
        except ServiceError as error:
            log.warning("recovery_failed", performance_id=str(found.performance_id), cause=error.reason)
            return False


def still_performing(performance_id: UUID) -> ServiceError:
    return of_performance(performance_id, StillPerforming("The performance is still under way."))


def _came_to_nothing(ended: Performance) -> bool:
    """By no fault of the request: who waited for it performs instead."""
    interrupted = ended.failure is not None and ended.failure.reason == PerformanceInterrupted.reason
    return ended.state is State.CANCELLED or interrupted
