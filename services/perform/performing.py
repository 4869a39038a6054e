"""Performing: one outcome for each request, whatever happens on the way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform import saga
from services.perform.background import Background
from services.perform.domain import (
    Charge,
    Failure,
    Order,
    Patience,
    Performance,
    Phase,
    Recording,
    State,
    expected_seconds,
)
from services.perform.errors import (
    CallerLeft,
    KeyReused,
    PerformanceInterrupted,
    PerformanceTooSlow,
    RecordingNotFound,
    StillPerforming,
)
from services.perform.ports import Clock, Ports
from services.perform.sound import Sound
from services.perform.steps import Story, Take

log = structlog.get_logger()

OUTCOMES = Counter(
    "perform_outcomes_total", "Performances that ended, by state and reason.", ["state", "reason"]
)
_CRASHED = Failure(500, "INTERNAL", "Something went wrong on our side.")
_LEFT = "caller left"
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.01, 0.25
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Performed:
    recording: Recording
    charge: Charge
    audio: bytes


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known when the first audio is there."""

    recording_id: UUID
    text: str
    voice_source: str
    expected_seconds: float


@dataclass(frozen=True, slots=True)
class Request:
    """One call: its own id, who asks for what, under which Idempotency-Key (empty for none), and how long
    it waits for an earlier one with the same key."""

    performance_id: UUID
    user_id: str
    order: Order
    key: str
    join_seconds: float


class Performing:
    def __init__(
        self, ports: Ports, story: Story, background: Background, patience: Patience, now: Clock
    ) -> None:
        self._performances = ports.performances
        self._blobs = ports.blobs
        self._story = story
        self._background = background
        self._patience = patience
        self._now = now

    async def perform(self, request: Request) -> Performed:
        """The whole memo. It is made to its end also when the caller leaves: the next one may ask for it."""
        take = await self._claim(request)
        if isinstance(take, Performance):
            return await self._again(take)
        await asyncio.shield(self._background.start(self._run(take)))
        if take.failure is not None:
            raise take.failure
        return Performed(take.recording, _charge(take), bytes(take.sound.audio))

    async def listen(self, request: Request) -> AsyncGenerator[Heading | bytes, None]:
        """The heading with the first audio, then the rest. A caller who leaves before the audio is whole
        ends the performance: nothing is kept, nothing is charged."""
        take = await self._claim(request)
        if isinstance(take, Performance):
            again = await self._again(take)
            yield _heading(again.recording)
            async with aclosing(Sound.whole(again.audio).listen()) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        task = self._background.start(self._run(take))
        try:
            heard = False
            async with aclosing(take.sound.listen()) as chunks:
                async for chunk in chunks:
                    if not heard:
                        yield Heading(
                            take.performance_id, take.text, take.voice.source, expected_seconds(take.text)
                        )
                    heard = True
                    yield chunk
        finally:
            if not take.decided:
                task.cancel(_LEFT)

    async def _claim(self, request: Request) -> Take | Performance:
        """A new take, or the earlier performance that has the outcome."""
        give_up = asyncio.get_running_loop().time() + request.join_seconds
        while True:
            take = Take(request.performance_id, request.user_id, self._now())
            take.order = request.order
            try:
                holder = await self._performances.claim(self._new(request))
            except ServiceError as error:
                # The claim may have been written all the same.
                self._background.start_retrying(self._undo_later(take, State.FAILED, Failure.of(error)))
                raise
            if holder is None:
                return take
            if self._expired(holder):
                await self._performances.free_key(holder.performance_id)
                continue
            if holder.fingerprint != request.order.fingerprint:
                raise KeyReused("This Idempotency-Key was used for another request.")
            ended = await self._outcome_of(holder.performance_id, give_up)
            if ended is not None and ended.state is not State.CANCELLED:
                log.info("performance_joined", performance_id=str(ended.performance_id), state=ended.state)
                return ended

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
            due_at=now + self._patience.performance + self._patience.sweep,
        )

    def _expired(self, holder: Performance) -> bool:
        """One still under way keeps its key however old it is."""
        age = self._now() - holder.created_at
        return holder.phase is Phase.DONE and age > self._patience.key

    async def _outcome_of(self, performance_id: UUID, give_up: float) -> Performance | None:
        """Waits across processes; None when there is nothing to wait for any more."""
        pause = _POLL_SECONDS
        while True:
            found = await self._performances.find(performance_id)
            if found is None or found.state not in {State.PENDING, State.RUNNING}:
                return found
            left = give_up - asyncio.get_running_loop().time()
            if left <= 0:
                raise StillPerforming("The first request with this Idempotency-Key is still under way.")
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)

    async def _again(self, ended: Performance) -> Performed:
        if ended.failure is not None:
            raise ended.failure.as_error()
        if ended.recording is None or ended.charge is None:
            raise RecordingNotFound("The recording of this request was deleted.")
        audio = await self._blobs.get(ended.user_id, ended.performance_id)
        return Performed(ended.recording, ended.charge, audio)

    async def _run(self, take: Take) -> None:
        """Never raises: who waits finds the outcome in the take."""
        try:
            async with asyncio.timeout(self._patience.performance.total_seconds()):
                await saga.run(self._story.until_kept, take)
        except BaseException as failure:
            cause, take.decided = _told(failure), True
            try:
                await self._undo(take, cause)
            finally:
                take.failure = cause
                take.sound.fail(cause)
            return
        take.sound.end()
        await self._finish(take)

    async def _undo(self, take: Take, cause: BaseException) -> None:
        state, failure = _outcome(cause)
        OUTCOMES.labels(state, failure.reason).inc()
        log.info(
            "performance_failed",
            performance_id=str(take.performance_id),
            state=state,
            failure=failure.reason,
        )
        try:
            await self._undo_once(take, state, failure)
        except ServiceError as error:
            log.warning(
                "performance_undo_delayed", performance_id=str(take.performance_id), cause=error.reason
            )
            self._background.start_retrying(self._undo_later(take, state, failure))

    async def _undo_once(self, take: Take, state: State, failure: Failure) -> None:
        ours = await self._performances.begin_undo(take.performance_id)
        if not ours and await self._kept(take):
            return
        await saga.undo(self._story.until_kept, take)
        # Changes nothing when the sweeper wrote an outcome first.
        await self._performances.fail(take.performance_id, state, failure, self._now() + self._patience.key)

    async def _undo_later(self, take: Take, state: State, failure: Failure) -> None:
        """A short stall of the database must not hold a key, or credits, until the sweeper comes."""
        give_up = self._now() + self._patience.performance
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

    async def _finish(self, take: Take) -> None:
        try:
            await saga.press_on(self._story.after, take)
            await self._performances.succeed(take.performance_id, _charge(take))
        except ServiceError as error:
            _leave_to_sweeper(take, error)
            if take.charge is None:
                take.failure = error
        kept = take.recording
        OUTCOMES.labels(State.SUCCEEDED, "").inc()
        log.info(
            "performance_succeeded",
            performance_id=str(take.performance_id),
            routine_type=kept.routine_type,
            voice_source=kept.voice_source,
            audio_seconds=kept.duration_seconds,
            credits=take.charge.credits if take.charge else None,
        )


def _told(failure: BaseException) -> BaseException:
    """What the waiting caller gets; a cancelled performance must not look like a cancelled caller."""
    if isinstance(failure, TimeoutError):
        return PerformanceTooSlow("The performance took too long.")
    if isinstance(failure, asyncio.CancelledError):
        kind = CallerLeft if _LEFT in failure.args else PerformanceInterrupted
        return kind("The performance was stopped before the memo was whole.")
    return failure


def _outcome(cause: BaseException) -> tuple[State, Failure]:
    failure = Failure.of(cause) if isinstance(cause, ServiceError) else _CRASHED
    return State.CANCELLED if isinstance(cause, CallerLeft) else State.FAILED, failure


def _charge(take: Take) -> Charge:
    if take.charge is None:
        raise PerformanceInterrupted("What the memo costs is not known yet.")
    return take.charge


def _leave_to_sweeper(take: Take, error: ServiceError) -> None:
    log.warning("performance_left_to_sweeper", performance_id=str(take.performance_id), cause=error.reason)


def _heading(recording: Recording) -> Heading:
    return Heading(recording.recording_id, recording.text, recording.voice_source, recording.duration_seconds)
