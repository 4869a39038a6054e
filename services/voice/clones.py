"""What operators may see of clones and of the pool, and what they may take away."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from services.voice.domain import Bookmark, Clone, PinsUnavailable, VoiceInUse, VoiceNotFound
from services.voice.keeping import Keeping
from services.voice.policy import NEVER
from services.voice.pool import OPERATOR, Eviction, Pool
from services.voice.ports import Pins, PooledProvider, Register
from services.voice.reconciling import Reconciling
from services.voice.slots import Habits, Ledger, Slots, SlotState

log = structlog.get_logger()

USUAL_PAGE: Final = 20
# A user's voice may be changed by others meanwhile, but hardly that often.
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class OwnedClone:
    user_id: str
    clone: Clone
    # None when no performance was seen.
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """`confirmed` is False while the provider may still have the voice; it is asked until it has not."""

    voice_id: str
    user_id: str
    confirmed: bool


class Clones:
    """All clones, of all users. A clone is known by the id that its user sees."""

    def __init__(self, voices: Register, pool: Pool | None = None, habits: Habits | None = None) -> None:
        self._voices = voices
        self._pool = pool
        self._habits = habits

    async def page(self, token: str, size: int) -> tuple[Sequence[OwnedClone], str]:
        """Newest first, with the token of the next page; none on the last one. Raises PageTokenInvalid."""
        found = await self._voices.clones_before(Bookmark.of(token) if token else None, size + 1)
        more = Bookmark.at(found[size - 1][1]).token if len(found) > size else ""
        users = [voice.user_id for voice, _ in found[:size]]
        used = await self._used(users)
        return [
            OwnedClone(voice.user_id, clone, used.get(voice.user_id)) for voice, clone in found[:size]
        ], more

    async def find(self, voice_id: str) -> OwnedClone:
        """Raises VoiceNotFound."""
        voice = await self._voices.with_clone(voice_id)
        for clone in (voice.clone, voice.standby) if voice else ():
            if voice and clone and clone.clone_id == voice_id:
                used = await self._used([voice.user_id])
                return OwnedClone(voice.user_id, clone, used.get(voice.user_id))
        raise VoiceNotFound("There is no such clone.")

    async def evict(self, voice_id: str) -> Removed:
        """Take its place at the provider away. Raises VoiceNotFound and VoiceInUse."""
        for _ in range(_TRIES):
            found = await self.find(voice_id)
            if not found.clone.in_pool or self._pool is None:
                raise VoiceNotFound("This clone has no place at the provider.")
            eviction = await self._pool.evict(found.user_id, OPERATOR, found.clone.engine_voice_id)
            if eviction is Eviction.PINNED:
                raise VoiceInUse("A performance speaks in this voice, or it is not known whether one does.")
            if eviction is not Eviction.CHANGED:
                return Removed(voice_id, found.user_id, eviction is Eviction.REMOVED)
        raise VoiceInUse("The voice is being changed right now.")

    async def is_used(self, user_id: str) -> bool:
        """Whether a performance may be speaking in this user's voice."""
        return self._pool is not None and await self._pool.is_pinned(user_id)

    async def _used(self, user_ids: Sequence[str]) -> Mapping[str, datetime]:
        if self._habits is None:
            return {}
        try:
            habits = await self._habits.of(user_ids)
        except PinsUnavailable as error:
            # The list is for looking at voices; when they were used is beside the point.
            log.warning("voice_habits_unread", cause=str(error))
            return {}
        return {
            user_id: datetime.fromtimestamp(habit.last, UTC)
            for user_id, habit in habits.items()
            if habit.last != NEVER
        }


async def remove_clone(clones: Clones, keeping: Keeping, voice_id: str) -> Removed:
    """Like `evict`, and also for clones of the embedded engine; the sample stays."""
    found = await clones.find(voice_id)
    if found.clone.in_pool:
        return await clones.evict(voice_id)
    if await clones.is_used(found.user_id):
        raise VoiceInUse("A performance speaks in this voice, or it is not known whether one does.")
    if not await keeping.drop(found.user_id, voice_id):
        raise VoiceNotFound("There is no such clone.")
    log.info("voice_clone_removed", voice_clone_id=voice_id, removed_user_id=found.user_id)
    return Removed(voice_id, found.user_id, await keeping.clear(found.user_id))


@dataclass(frozen=True, slots=True)
class PoolStatus:
    provider: str
    ledger: Ledger
    # None when the cache is away.
    pinned: int | None
    # Of all leases, those that found their voice at the provider; None when the cache is away.
    reuse_ratio: float | None

    def count(self, state: SlotState) -> int:
        return sum(slot.state is state for slot in self.ledger.slots)


class PoolView:
    def __init__(
        self, provider: str, slots: Slots, pins: Pins, habits: Habits, clock: Callable[[], datetime]
    ) -> None:
        self._provider = provider
        self._slots = slots
        self._pins = pins
        self._habits = habits
        self._clock = clock

    async def status(self) -> PoolStatus:
        ledger = await self._slots.read()
        users = [slot.user_id for slot in ledger.slots]
        try:
            pinned = await self._pins.pinned_among(users, self._clock())
            reuse = await self._habits.reuse()
        except PinsUnavailable as error:
            log.warning("voice_pool_status_incomplete", cause=str(error))
            return PoolStatus(self._provider, ledger, None, None)
        ratio = reuse.reused / reuse.leases if reuse.leases else 0.0
        return PoolStatus(self._provider, ledger, len(pinned), ratio)


@dataclass(frozen=True, slots=True)
class Pooled:
    """The places at one provider, and all that looks after them."""

    provider: PooledProvider
    pool: Pool
    reconciling: Reconciling
    view: PoolView
    habits: Habits
