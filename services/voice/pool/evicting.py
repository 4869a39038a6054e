"""Taking a voice's place away, so that nobody who speaks in it is interrupted and nothing is forgotten."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.voice.domain import Clone, Leftover, PinsUnavailable, Voice
from services.voice.ports import (
    DiscardOutcomeUnknown,
    Pins,
    Provider,
    ProviderBusy,
    ProviderRefusedUs,
    ProviderUnavailable,
    Voices,
)
from services.voice.slots import Habits, Slots, SlotState

log = structlog.get_logger()

EVICTIONS = Counter("voice_pool_evictions_total", "Voices that lost their place, by why.", ["cause"])

# Why a voice loses its place: for another's, for its own user's next one, because it is no longer at the
# provider, because an operator says so.
ROOM: Final = "room"
REPLACED: Final = "replaced"
MISSING: Final = "missing"
OPERATOR: Final = "operator"

# A mark keeps leases waiting for this long, and may be acted upon for less: the conditional update that
# follows may be slow, and the clocks of replicas differ.
_MARK_LASTS: Final = timedelta(seconds=10)
_MARK_IS_USED: Final = timedelta(seconds=2)
# The provider was asked and did nothing.
WITHOUT_EFFECT: Final = (ProviderBusy, ProviderUnavailable, ProviderRefusedUs)


class Eviction(StrEnum):
    """What came of it."""

    REMOVED = "removed"
    # The voice has lost its user, and is removed again and again until the provider confirms it.
    UNCONFIRMED = "unconfirmed"
    # The provider refused, and the voice is its user's as before.
    KEPT = "kept"
    # A performance speaks in it, or it is not known whether one does.
    PINNED = "pinned"
    # It is not there (any more), or somebody else is changing it.
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Records:
    """What is written down about voices and their places."""

    voices: Voices
    slots: Slots
    pins: Pins
    habits: Habits


class Evicting:
    def __init__(self, provider: Provider, records: Records, clock: Callable[[], datetime]) -> None:
        self.provider = provider
        self._voices = records.voices
        self._slots = records.slots
        self._pins = records.pins
        self._habits = records.habits
        self._clock = clock

    async def evict(self, user_id: str, cause: str, *, only: str = "", spare_pinned: bool = True) -> Eviction:
        """Take the user's voice from its place, and give the place back."""
        eviction, attempt_id = await self.empty(user_id, cause, only=only, spare_pinned=spare_pinned)
        if eviction is Eviction.REMOVED:
            await self._slots.give_back(attempt_id, unspent=False)
        return eviction

    async def empty(
        self, user_id: str, cause: str, *, only: str = "", spare_pinned: bool = True, mine: str = ""
    ) -> tuple[Eviction, str]:
        """Remove the user's voice. When it was removed, the place of the attempt that made it is empty and
        still taken: it can be handed over, and must be given back otherwise.

        A voice whose user changes it right now is left alone, unless the attempt `mine` does; and so is any
        but the `only` one, when that is named: the user may have a newer one by now.
        """
        voice = await self._voices.get(user_id)
        clone = voice.clone_at(self.provider.name, self._clock())
        if clone is None or (spare_pinned and self._is_changing(voice, mine)):
            return Eviction.CHANGED, ""
        if only not in ("", clone.engine_voice_id):
            return Eviction.CHANGED, ""
        if spare_pinned:
            marked = await self._unpinned(voice)
            if isinstance(marked, Eviction):
                return marked, ""
            voice = marked
        evicted = voice.evicted(self._clock())
        if not await self._voices.replace(voice, evicted):
            return Eviction.CHANGED, ""
        return await self._remove(evicted, clone, cause), clone.clone_id

    async def discard(self, left: Leftover) -> None:
        """Remove a voice that nobody has any more, and give its place back. Safe to repeat."""
        if left.attempt_id:
            leaving, named = SlotState.LEAVING, left.engine_voice_id
            await self._slots.change(left.attempt_id, leaving, self._clock(), named)
        await self.provider.discard(left.engine_voice_id)
        if left.attempt_id:
            await self._slots.give_back(left.attempt_id, unspent=False)

    def _is_changing(self, voice: Voice, mine: str) -> bool:
        return voice.is_claimed(self._clock()) and not voice.is_claimed_by(mine)

    async def _unpinned(self, voice: Voice) -> Voice | Eviction:
        """The voice with a mark on it, after which no performance can begin to speak in it.

        A lease pins before it reads. So either it is seen here, or it sees the mark and waits.
        """
        began = self._clock()
        marked = voice.marked(began + _MARK_LASTS, began)
        if not await self._voices.replace(voice, marked):
            return Eviction.CHANGED
        try:
            pinned = await self._pins.pinned(voice.user_id, self._clock()) > 0
        except PinsUnavailable:
            pinned = True
        if not pinned and self._clock() - began < _MARK_IS_USED:
            return marked
        # When this fails, the mark's time is over soon.
        await self._voices.replace(marked, marked.unmarked(self._clock()))
        return Eviction.PINNED if pinned else Eviction.CHANGED

    async def _remove(self, evicted: Voice, clone: Clone, cause: str) -> Eviction:
        user_id, now = evicted.user_id, self._clock()
        await self._slots.change(clone.clone_id, SlotState.LEAVING, now, clone.engine_voice_id)
        try:
            await self.provider.discard(clone.engine_voice_id)
        except DiscardOutcomeUnknown:
            outcome = Eviction.UNCONFIRMED
        except WITHOUT_EFFECT as error:
            log.warning("voice_eviction_refused", voice_clone_id=clone.clone_id, cause=error.reason)
            outcome = await self._kept(evicted, clone, cause)
        else:
            outcome = Eviction.REMOVED
            await self._cleaned(evicted, clone)
        if outcome is not Eviction.KEPT:
            EVICTIONS.labels(cause).inc()
            log.info(
                "voice_evicted",
                voice_clone_id=clone.clone_id,
                evicted_user_id=user_id,
                cause=cause,
                outcome=outcome,
            )
            with suppress(PinsUnavailable):
                await self._habits.left(user_id)
        return outcome

    async def _kept(self, evicted: Voice, clone: Clone, cause: str) -> Eviction:
        """To make room, a voice is not thrown away for nothing: getting it back would cost an add."""
        if cause not in (ROOM, REPLACED):
            return Eviction.UNCONFIRMED
        await self._slots.change(clone.clone_id, SlotState.HELD, self._clock(), clone.engine_voice_id)
        if await self._voices.replace(evicted, evicted.reinstated(clone, self._clock())):
            return Eviction.KEPT
        await self._slots.change(clone.clone_id, SlotState.LEAVING, self._clock(), clone.engine_voice_id)
        return Eviction.UNCONFIRMED

    async def _cleaned(self, evicted: Voice, clone: Clone) -> None:
        """The sweeper does it when this fails."""
        still = [
            left for left in evicted.leftovers if left.engine_voice_id != clone.engine_voice_id or left.blobs
        ]
        if len(still) < len(evicted.leftovers):
            with suppress(ServiceError):
                await self._voices.replace(evicted, evicted.cleaned(self._clock(), still))
