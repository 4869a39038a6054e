"""Speaking in a voice: the lease under which a performance does, and what answers when it cannot."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.voice.domain import (
    BlobMissing,
    Clone,
    Lease,
    Outcome,
    PinsUnavailable,
    Voice,
    VoiceCloneRequired,
    VoiceSampleNotFound,
    VoiceSlotsExhausted,
    VoiceStoreUnavailable,
)
from services.voice.keeping import READINGS, Keeping, Overflow, Surroundings, lost
from services.voice.ports import Pins
from services.voice.works import outcome_of

log = structlog.get_logger()

LEASES = Counter("voice_leases_total", "Leases by what came of them.", ["outcome"])

# As much time as a lease waits for a clone is left for the overflow.
_SHARE_OF_WAITING: Final = 0.5
_ASK_AGAIN_SECONDS: Final = 3
# With the stores away, or this service about to end, the overflow cannot speak either. After any other
# failure, also a crash, it does: the performer is on stage.
_NOT_TO_BE_HELPED: Final = (VoiceStoreUnavailable, asyncio.CancelledError)


@dataclass(frozen=True, slots=True)
class LeaseRules:
    lasts: timedelta
    # The longest that a lease waits for a clone to be made.
    clone_seconds: float = 8
    overflow: Overflow = Overflow.LOCAL


@dataclass(frozen=True, slots=True)
class _Wish:
    """How a caller wants to be served."""

    # The time that it gives; None for any.
    within: float | None
    # Else it is told when a voice has to be made, and comes back for it.
    waits: bool = True


class _Pending(Exception):
    """The voice is being made, and the caller does not wait for it."""


class Leasing:
    def __init__(self, around: Surroundings, pins: Pins, keeping: Keeping, rules: LeaseRules) -> None:
        self._voices = around.voices
        self._profiles = around.blobs
        self._works = around.works
        self._clock = around.clock
        self._pool = around.pool
        self._pins = pins
        self._keeping = keeping
        self._rules = rules

    async def lease(self, user_id: str, performance_id: str, within: float | None = None) -> Lease:
        """Pinned before it is read, so that who evicts either sees the pin or is seen to have evicted.

        `within` is the time that the caller gives. Raises VoiceCloneRequired and VoiceSlotsExhausted.
        """
        lease = await self._pinned(user_id, performance_id, _Wish(within))
        assert lease is not None  # noqa: S101 - who waits is given one
        return lease

    async def begin_lease(
        self, user_id: str, performance_id: str, within: float | None = None
    ) -> Lease | None:
        """The same; None when the voice is being made: it is pinned, and `lease` waits for it."""
        return await self._pinned(user_id, performance_id, _Wish(within, waits=False))

    async def lease_overflow(self, user_id: str, performance_id: str) -> Lease:
        """In place of a voice whose engine is away. Raises VoiceCloneRequired and VoiceSlotsExhausted."""
        if self._rules.overflow is Overflow.REFUSE:
            LEASES.labels("refused").inc()
            raise _not_yet()
        await self._pin(user_id, performance_id)
        lease = await self._standby(user_id)
        LEASES.labels("overflow").inc()
        return lease

    async def _pinned(self, user_id: str, performance_id: str, wish: _Wish) -> Lease | None:
        begun = await self._pin(user_id, performance_id)
        try:
            lease, outcome = await self._leased(user_id, performance_id, wish, begun=begun)
        except BaseException:
            LEASES.labels("refused").inc()
            await self.release(user_id, performance_id)
            raise
        LEASES.labels(outcome).inc()
        return lease

    async def release(self, user_id: str, performance_id: str) -> None:
        try:
            await self._pins.unpin(user_id, performance_id)
        except PinsUnavailable as error:
            # It expires by itself.
            log.warning("voice_unpin_skipped", performance_id=performance_id, cause=str(error))

    async def report_missing(self, user_id: str, engine_voice_id: str, fence: int) -> None:
        """The provider no longer knew the leased voice. Ignored when the voice has changed since then."""
        voice = await self._voices.get(user_id)
        known = voice.clone and voice.clone.engine_voice_id == engine_voice_id and voice.fence == fence
        if self._pool and known and voice.clone and voice.clone.provider == self._pool.provider.name:
            await self._pool.lost(user_id, engine_voice_id)

    async def _pin(self, user_id: str, performance_id: str) -> bool:
        """Whether this performance begins with it."""
        try:
            return await self._pins.pin(user_id, performance_id, self._clock() + self._rules.lasts)
        except PinsUnavailable as error:
            # The performer is on stage, and the lease hands out all that is needed to speak.
            log.warning("voice_pin_skipped", performance_id=performance_id, cause=str(error))
            return True

    async def _leased(
        self, user_id: str, performance_id: str, wish: _Wish, *, begun: bool
    ) -> tuple[Lease | None, str]:
        if lease := await self._reused(user_id, performance_id, begun=begun):
            return lease, "reused"
        if self._pool and begun:
            # Before it is decided on: who performs more than was thought is worth more.
            await self._pool.performed(user_id, performance_id, reused=False)
        failure = await self._regained(user_id, wish)
        if isinstance(failure, _Pending):
            return None, "pending"
        if failure is None and (lease := await self._ready(user_id)):
            return lease, "cloned"
        return await self._overflowed(user_id, wish, failure)

    async def _reused(self, user_id: str, performance_id: str, *, begun: bool) -> Lease | None:
        lease = await self._ready(user_id)
        if lease and self._pool and begun:
            # Counting it is not waited for.
            pool, name = self._pool, f"count {performance_id}"
            self._works.start(name, lambda: pool.performed(user_id, performance_id, reused=True))
        return lease

    async def _overflowed(
        self, user_id: str, wish: _Wish, failure: BaseException | None
    ) -> tuple[Lease | None, str]:
        """In the embedded engine's clone, unless that may not answer for this failure."""
        if isinstance(failure, VoiceSampleNotFound):
            raise VoiceCloneRequired("There is no voice to speak in yet.")
        if self._pool is None or isinstance(failure, _NOT_TO_BE_HELPED):
            raise failure or _not_yet()
        if self._rules.overflow is Overflow.REFUSE:
            raise failure if isinstance(failure, VoiceSlotsExhausted) else _not_yet()
        if not wish.waits and not await self._has_standby(user_id):
            self._keeping.stand_by(user_id)
            return None, "pending"
        return await self._standby(user_id), "overflow"

    async def _ready(self, user_id: str) -> Lease | None:
        """In the clone that is there. Raises VoiceCloneRequired when there is no sample."""
        for _ in range(READINGS):
            voice = await self._voices.get(user_id)
            if voice.sample is None:
                raise VoiceCloneRequired("There is no voice to speak in yet.")
            clone = self._clone_to_speak_in(voice)
            if clone is None:
                return None
            try:
                profile = await self._profiles.get(clone.profile) if clone.profile else b""
            except BlobMissing:
                continue
            return _lease(voice, clone, profile)
        raise lost(voice)

    def _clone_to_speak_in(self, voice: Voice) -> Clone | None:
        if self._pool is None:
            return voice.embedded
        return voice.clone_at(self._pool.provider.name, self._clock())

    async def _regained(self, user_id: str, wish: _Wish) -> BaseException | None:
        """None when there is a clone now. Nobody is the first to give up: others may wait for it too."""
        seconds = self._rules.clone_seconds
        if wish.within is not None:
            seconds = min(seconds, wish.within * _SHARE_OF_WAITING)
        task: asyncio.Task[Outcome] = self._keeping.regain(user_id)
        try:
            async with asyncio.timeout(seconds):
                await (asyncio.wait({task}) if wish.waits else self._keeping.begun(task))
        except TimeoutError:
            return _not_yet()
        if not task.done():
            return _Pending()
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    async def _has_standby(self, user_id: str) -> bool:
        return (await self._voices.get(user_id)).embedded is not None

    async def _standby(self, user_id: str) -> Lease:
        for _ in range(READINGS):
            try:
                standby = await outcome_of(self._keeping.stand_by(user_id))
            except VoiceSampleNotFound as error:
                raise VoiceCloneRequired("There is no voice to speak in yet.") from error
            kept = standby.clone.profile
            try:
                profile = await self._profiles.get(kept) if kept else standby.profile
            except BlobMissing:
                continue
            return _lease(standby.voice, standby.clone, profile)
        raise lost(standby.voice)


def _lease(voice: Voice, clone: Clone, profile: bytes) -> Lease:
    assert voice.sample is not None  # noqa: S101 - a clone is of a sample
    return Lease(
        clone.engine, clone.engine_voice_id, profile, clone.voice_source, voice.sample.hash, voice.fence
    )


def _not_yet() -> ServiceError:
    return VoiceSlotsExhausted("The voice is being prepared.", _ASK_AGAIN_SECONDS)
