"""One of many requests performs; the others wait for its outcome."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

import structlog

from services.kernel.errors import ServiceError
from services.kernel.replay import KeyReused
from services.kernel.tracing import stage
from services.perform.background import Background
from services.perform.domain import Failure, Order, Performance, Phase, State, TimeLimits
from services.perform.errors import (
    CallerLeft,
    PerformanceInterrupted,
    PerformBusy,
    StillPerforming,
    of_performance,
)
from services.perform.places import Places
from services.perform.ports import Clock, Ports
from services.perform.recovering import Recovery
from services.perform.saga import STAGE_SECONDS
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

    @property
    def identity(self) -> tuple[str, str]:
        """The same for all who want the same performance."""
        return self.user_id, self.key or self.order.fingerprint


class Claiming:
    def __init__(  # noqa: PLR0913, PLR0917 - built in one place
        self,
        ports: Ports,
        recovery: Recovery,
        undoing: Undoing,
        background: Background,
        limits: TimeLimits,
        now: Clock,
    ) -> None:
        self._performances = ports.performances
        self._recovery = recovery
        self._undoing = undoing
        self._background = background
        self._limits = limits
        self._now = now
        # Who waits for a place and is written down nowhere; set when that is over, in whatever way.
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}
        # Their callers have the answer: of the last minute, since who comes meanwhile may still find a key.
        self._delivered: set[UUID] = set()

    async def claim(self, request: Request, give_up: float, places: Places) -> Take | Performance:
        """A new take, or the earlier performance that has the outcome. Waits until `give_up`, by the loop's
        clock. Raises PerformBusy when there is no place for one more, soon enough; who waits for another
        one's outcome needs none."""
        while True:
            take = Take(request.performance_id, request.user_id, self._now())
            take.order = request.order
            holder = await self._placed(request, take, places, give_up)
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

    def delivered(self, performance_id: UUID) -> None:
        """Whoever performs the same again without a key wants another memo."""
        self._delivered.add(performance_id)
        forget, seconds = self._delivered.discard, self._limits.unheard.total_seconds()
        asyncio.get_running_loop().call_later(seconds, forget, performance_id)
        self._background.start(self._give_key_back(performance_id))

    async def _give_key_back(self, performance_id: UUID) -> None:
        try:
            await self._performances.free_key(performance_id)
        except ServiceError as error:
            # Another process may give it once more: for a minute, and for nothing.
            log.warning("delivery_not_noted", performance_id=str(performance_id), cause=error.reason)

    async def _placed(
        self, request: Request, take: Take, places: Places, give_up: float
    ) -> Performance | None:
        """Written down, with a place; or the holder of its key, who is waited for without one."""
        if places.is_free:
            return await self._with_place(request, take, places, give_up)
        if holder := await self._earlier(request, give_up):
            return holder
        with self._in_line(request):
            return await self._with_place(request, take, places, give_up)

    async def _with_place(
        self, request: Request, take: Take, places: Places, give_up: float
    ) -> Performance | None:
        with stage("perform await place"):
            entered = await places.next(give_up)
        with entered as place:
            take.placed_clock = perf_counter()
            STAGE_SECONDS.labels("await place").observe(take.placed_clock - take.started_clock)
            holder = await self._written_down(request, take)
            if holder is None:
                take.place = place.pop_all()
            return holder

    async def _earlier(self, request: Request, give_up: float) -> Performance | None:
        """The holder of its key, also when that one waits for a place here and is not written down yet."""
        while True:
            holder = await self._performances.holder(self._new(request))
            ahead = self._waiting.get(request.identity)
            if holder is not None or ahead is None:
                return holder
            try:
                async with asyncio.timeout_at(give_up):
                    await ahead.wait()
            except TimeoutError:
                raise PerformBusy("Too many performances are under way.") from None

    @contextmanager
    def _in_line(self, request: Request) -> Iterator[None]:
        ended = self._waiting[request.identity] = asyncio.Event()
        try:
            yield
        finally:
            del self._waiting[request.identity]
            ended.set()

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
        if holder.performance_id in self._delivered:
            return True
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
