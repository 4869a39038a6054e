"""Performing: one outcome for each request, whatever happens on the way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform import saga
from services.perform.background import Background
from services.perform.claiming import Claiming, Request, still_performing
from services.perform.domain import (
    Charge,
    Failure,
    Performance,
    Recording,
    State,
    TimeLimits,
    expected_seconds,
)
from services.perform.errors import (
    LEFT,
    CallerLeft,
    PerformanceInterrupted,
    PerformanceNotFound,
    RecordingNotFound,
    as_service_error,
    of_performance,
)
from services.perform.places import Places
from services.perform.ports import Clock, Ports
from services.perform.recovering import Recovery
from services.perform.sound import Sound
from services.perform.steps import Story, Take
from services.perform.undoing import Undoing, Undone

log = structlog.get_logger()

OUTCOMES = Counter(
    "perform_outcomes_total", "Performances that ended, by state and reason.", ["state", "reason"]
)
# Kept, and not paid yet: the sweeper ends it.
_UNSETTLED = "unsettled"
# Kept or not, which the database did not tell: the sweeper finds out.
_UNKNOWN = "unknown"
# A stream ends so long after its last audio at most, that its outcome is written down by then.
_LONGEST_END_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Performed:
    recording: Recording
    charge: Charge
    audio: bytes


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known when the first audio is there."""

    recording_id: UUID
    # As far as it was written by then.
    text: str
    voice_source: str
    expected_seconds: float
    text_is_whole: bool = True


class Performing:
    def __init__(  # noqa: PLR0913 - built in one place, the last one by name
        self,
        ports: Ports,
        story: Story,
        background: Background,
        limits: TimeLimits,
        now: Clock,
        *,
        recovery: Recovery,
        places: Places,
    ) -> None:
        self._places = places
        self._recovery = recovery
        self._performances = ports.performances
        self._blobs = ports.blobs
        self._story = story
        self._background = background
        self._limits = limits
        self._now = now
        self._undoing = Undoing(ports, story, background, limits, now)
        self._claiming = Claiming(ports, recovery, self._undoing, background, limits, now)

    async def perform(self, request: Request) -> Performed:
        """The whole memo. It is made to its end also when the caller leaves: the next one may ask for it."""
        give_up = asyncio.get_running_loop().time() + request.join_seconds
        take = await self._claiming.claim(request, give_up, self._places)
        if isinstance(take, Performance):
            return await self._again(take)
        task = self._begin(take)
        try:
            async with asyncio.timeout_at(give_up):
                await asyncio.shield(task)
        except TimeoutError:
            raise still_performing(take.performance_id) from None
        if take.failure is not None:
            raise take.failure
        return Performed(take.recording, _charge(take), bytes(take.sound.audio))

    async def listen(self, request: Request) -> AsyncGenerator[Heading | bytes, None]:
        """The heading with the first audio, then the rest. A caller who leaves before the audio is whole
        ends the performance: nothing is kept, nothing is charged. When there is nothing to hear for too
        long it goes on, for who asks the same again: raises StillPerforming."""
        give_up = asyncio.get_running_loop().time() + request.join_seconds
        take = await self._claiming.claim(request, give_up, self._places)
        memo = self._replay(take) if isinstance(take, Performance) else self._listen_live(take, give_up)
        async with aclosing(memo) as parts:
            async for part in parts:
                yield part

    def delivered(self, request: Request, performance_id: UUID) -> None:
        """The answer is on its way to its caller. To be said once it is: a crash before that leaves it to who
        asks the same again."""
        if not request.key:
            self._claiming.delivered(performance_id)

    async def _replay(self, ended: Performance) -> AsyncGenerator[Heading | bytes, None]:
        again = await self._again(ended)
        yield _heading(again.recording)
        async with aclosing(Sound.whole(again.audio).listen()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _listen_live(self, take: Take, give_up: float) -> AsyncGenerator[Heading | bytes, None]:
        task = self._begin(take)
        await self._hear_beginning(take, task, give_up)
        heard_all = False
        try:
            yield _heading_of(take)
            async with aclosing(take.sound.listen()) as chunks:
                async for chunk in chunks:
                    yield chunk
            heard_all = True
            # Who asks the same again now has heard this one, and gets another.
            await asyncio.wait([task], timeout=_LONGEST_END_SECONDS)
        finally:
            if not heard_all:
                _stop_listening(take, task)

    async def _hear_beginning(self, take: Take, task: asyncio.Task[None], give_up: float) -> None:
        try:
            async with asyncio.timeout_at(give_up):
                await take.sound.begun()
        except TimeoutError:
            raise still_performing(take.performance_id) from None
        except asyncio.CancelledError:
            _stop_listening(take, task)
            raise

    async def find(self, user_id: str, performance_id: str) -> Performance:
        """How a performance stands. Raises PerformanceNotFound, also for other users' ones."""
        found = None
        with suppress(ValueError):
            found = await self._performances.find(UUID(performance_id))
        if found is None or found.user_id != user_id:
            raise PerformanceNotFound("There is no such performance.")
        return found

    async def _again(self, ended: Performance) -> Performed:
        if ended.failure is not None:
            raise of_performance(ended.performance_id, ended.failure.as_error())
        if not ended.has_recording or ended.recording is None or ended.charge is None:
            raise RecordingNotFound("The recording of this request was deleted.")
        audio = await self._blobs.get(ended.user_id, ended.performance_id)
        return Performed(ended.recording, ended.charge, audio)

    def _begin(self, take: Take) -> asyncio.Task[None]:
        """The caller's own deadline may be shorter; who asks again gets what is made meanwhile."""
        task = self._background.start(self._run(take), self._limits.performance.total_seconds())
        # Also when it is cancelled before it ran.
        task.add_done_callback(lambda _: self._give_place_back(take))
        return task

    def _give_place_back(self, take: Take) -> None:
        self._places.ended(perf_counter() - take.placed_clock, well=take.charge is not None)
        take.place.close()

    async def _run(self, take: Take) -> None:
        """Never raises: who waits finds the outcome in the take."""
        ended = asyncio.Event()
        self._background.start(self._stay(take.performance_id, ended))
        try:
            with self._recovery.alive(take.performance_id):
                await self._run_to_its_end(take)
        finally:
            ended.set()

    async def _stay(self, performance_id: UUID, ended: asyncio.Event) -> None:
        """Say now and then that this process is alive; a performance that is quick never does."""
        takeover = self._limits.takeover
        pause, alive = takeover / 2, True
        while alive:
            try:
                await asyncio.wait_for(ended.wait(), pause.total_seconds())
                return
            except TimeoutError:
                pass
            try:
                alive = await self._performances.renew(performance_id, self._now() + takeover)
                pause = takeover / 2
            except ServiceError as error:
                # Half of the time is gone: many more attempts before somebody else takes over.
                pause = takeover / 20
                log.warning("renewal_failed", performance_id=str(performance_id), cause=error.reason)

    async def _run_to_its_end(self, take: Take) -> None:
        try:
            async with asyncio.timeout(self._limits.performance.total_seconds()):
                await saga.run(self._story.until_kept, take)
        except BaseException as failure:
            if await self._fail(take, failure):
                return
        take.sound.end()
        await self._finish(take)

    async def _fail(self, take: Take, failure: BaseException) -> bool:
        """False when it was kept after all. Who waits is told also when undoing it crashes."""
        cause = of_performance(take.performance_id, as_service_error(failure))
        take.decided, undone = True, Undone.LATER
        try:
            undone = await self._undo(take, cause)
        finally:
            if undone is not Undone.KEPT:
                if undone is Undone.LATER and take.keeping:
                    # It may be there and be charged for: whoever asks again is told, or gets it.
                    cause = still_performing(take.performance_id)
                take.failure = cause
                take.sound.fail(cause)
        return undone is not Undone.KEPT

    async def _undo(self, take: Take, cause: ServiceError) -> Undone:
        state = State.CANCELLED if isinstance(cause, CallerLeft) else State.FAILED
        undone = await self._undoing.undo(take, state, Failure.of(cause))
        if undone is Undone.KEPT:
            log.warning("performance_kept_after_all", performance_id=str(take.performance_id))
            return undone
        if undone is Undone.LATER and take.keeping:
            OUTCOMES.labels(_UNKNOWN, cause.reason).inc()
            log.warning(
                "performance_outcome_unknown", performance_id=str(take.performance_id), cause=cause.reason
            )
            return undone
        OUTCOMES.labels(state, cause.reason).inc()
        log.info(
            "performance_failed",
            performance_id=str(take.performance_id),
            state=state,
            failure=cause.reason,
        )
        return undone

    async def _finish(self, take: Take) -> None:
        self._background.start(self._story.let_go(take))
        try:
            await saga.run(self._story.after, take)
            await self._performances.succeed(take.performance_id, _charge(take), self._now())
        except ServiceError as error:
            _leave_to_sweeper(take, error)
            if take.charge is None:
                OUTCOMES.labels(_UNSETTLED, error.reason).inc()
                take.failure = of_performance(take.performance_id, error)
                return
        kept = take.recording
        OUTCOMES.labels(State.SUCCEEDED, "").inc()
        log.info(
            "performance_succeeded",
            performance_id=str(take.performance_id),
            routine_type=kept.routine_type,
            voice_source=kept.voice_source,
            audio_seconds=kept.duration_seconds,
            credits=_charge(take).credits,
        )


def _stop_listening(take: Take, task: asyncio.Task[None]) -> None:
    if not take.decided:
        task.cancel(LEFT)


def _charge(take: Take) -> Charge:
    if take.charge is None:
        raise PerformanceInterrupted("What the memo costs is not known yet.")
    return take.charge


def _leave_to_sweeper(take: Take, error: ServiceError) -> None:
    log.warning("performance_left_to_sweeper", performance_id=str(take.performance_id), cause=error.reason)


def _heading_of(take: Take) -> Heading:
    whole = take.script.whole
    seconds = expected_seconds(take.text, whole=whole)
    return Heading(take.performance_id, take.text, take.voice.source, seconds, whole)


def _heading(recording: Recording) -> Heading:
    return Heading(recording.recording_id, recording.text, recording.voice_source, recording.duration_seconds)
