"""Puts one difference right at a time, unless what it rests on has changed meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.kernel.errors import ServiceError
from services.voice.comparing import Action, Adoption, Holding, Missing, Release, Removal, Renaming, Seen
from services.voice.domain import Clone, PinsUnavailable
from services.voice.pool.naming import named_by_its_id
from services.voice.ports import (
    OutcomeUnknown,
    PooledProvider,
    ProviderBusy,
    ProviderRefusedUs,
    ProviderUnavailable,
    ProviderVoiceMissing,
    Register,
)
from services.voice.slots import Habits, Slot, Slots, SlotState

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sides:
    """What must agree: documents, places, the index of who is used, and the provider itself."""

    voices: Register
    slots: Slots
    habits: Habits
    provider: PooledProvider


class Righting:
    """Each step leaves a state that another pass understands, so a death in between costs time only."""

    def __init__(self, sides: Sides, seen: Seen, clock: Callable[[], datetime]) -> None:
        self._voices = sides.voices
        self._slots = sides.slots
        self._habits = sides.habits
        self._provider = sides.provider
        self._clock = clock
        self._documents = seen.after
        self._taken = {slot.attempt_id for slot in seen.ledger.slots}
        self._may_rename = True

    async def put_right(self, action: Action) -> bool:
        """False when it is left to another pass: something changed, or the provider did not do its part."""
        match action:
            case Missing():
                step = self._forget(action)
            case Removal():
                step = self._remove(action)
            case Adoption():
                step = self._adopt(action)
            case Release():
                step = self._release(action.slot)
            case Holding():
                step = self._hold(action.slot)
            case Renaming():
                step = self._rename(action.engine_voice_id)
        try:
            return await step
        except (OutcomeUnknown, ProviderBusy, ProviderRefusedUs, ProviderUnavailable) as error:
            log.warning("pool_difference_left", kind=type(action).__name__, cause=error.reason)
            return False

    async def _forget(self, missing: Missing) -> bool:
        """The sample and the clone standing by stay: the next performance clones again. The provider is asked
        for this very voice first: its list may lag behind, and giving up a voice costs an add."""
        if await self._provider.has(missing.engine_voice_id):
            log.warning("voice_list_lagged", engine_voice_id=missing.engine_voice_id)
            return False
        voice = self._documents[missing.user_id]
        assert voice.clone is not None  # noqa: S101 - it is what was missed
        clone_id = voice.clone.clone_id
        if not await self._voices.replace(voice, voice.evicted(self._clock())):
            return False
        await self._slots.give_back(clone_id, unspent=False)
        await self._left(missing.user_id)
        log.warning(
            "voice_missing_detected", voice_clone_id=clone_id, engine_voice_id=missing.engine_voice_id
        )
        return True

    async def _remove(self, removal: Removal) -> bool:
        slot = removal.slot
        if not await self._disown(slot):
            return False
        leaving = await self._slots.change(
            slot.attempt_id, SlotState.LEAVING, self._clock(), slot.engine_voice_id
        )
        if not leaving and slot.attempt_id in self._taken:
            # Whoever wanted it removed has done so meanwhile, and given its place back or away.
            return True
        if not leaving:
            # Over capacity, if it must be: while it is not certain that it is gone, it counts.
            await self._slots.restore(slot)
        await self._provider.discard(slot.engine_voice_id)
        await self._slots.give_back(slot.attempt_id, unspent=False)
        event = "voice_orphan_deleted" if removal.orphan else "voice_deletion_retried"
        log.warning(event, attempt_id=slot.attempt_id, engine_voice_id=slot.engine_voice_id)
        return True

    async def _adopt(self, adoption: Adoption) -> bool:
        slot, now = adoption.slot, self._clock()
        voice = self._documents[slot.user_id]
        provider = self._provider
        clone = Clone(
            slot.attempt_id,
            provider.name,
            provider.engine,
            adoption.engine_voice_id,
            provider.voice_source,
            provider.pooled,
            None,
            now,
        )
        if not await self._voices.replace(voice, voice.abandoned(now).regained(clone, now)):
            return False
        await self._slots.change(slot.attempt_id, SlotState.HELD, now, adoption.engine_voice_id)
        try:
            await self._habits.cloned(slot.user_id, slot.since.timestamp())
            await self._habits.entered(slot.user_id, now.timestamp())
        except PinsUnavailable as error:
            log.warning("voice_habit_skipped", cause=str(error))
        log.info("voice_adopted", attempt_id=slot.attempt_id, engine_voice_id=adoption.engine_voice_id)
        return True

    async def _release(self, slot: Slot) -> bool:
        """The add may have been spent after all: the provider's own count tells at the next refresh."""
        if not await self._disown(slot):
            return False
        await self._slots.give_back(slot.attempt_id, unspent=False)
        log.warning("voice_place_freed", attempt_id=slot.attempt_id)
        return True

    async def _hold(self, slot: Slot) -> bool:
        """Looked up once more: a place for a voice that is being removed would be one too many."""
        voice = await self._voices.get(slot.user_id)
        if voice.clone is None or voice.clone.engine_voice_id != slot.engine_voice_id:
            return False
        held = await self._slots.change(slot.attempt_id, SlotState.HELD, self._clock(), slot.engine_voice_id)
        if not held:
            await self._slots.restore(slot)
        log.warning("voice_place_restored", attempt_id=slot.attempt_id, engine_voice_id=slot.engine_voice_id)
        return True

    async def _rename(self, engine_voice_id: str) -> bool:
        if not self._may_rename:
            return False
        try:
            await named_by_its_id(self._provider, self._slots, engine_voice_id, self._clock())
        except ServiceError as error:
            # Each try spends an add of the ledger: what fails for one voice would fail for the next as well.
            self._may_rename = isinstance(error, ProviderVoiceMissing)
            log.warning("voice_rename_postponed", engine_voice_id=engine_voice_id, cause=error.reason)
            return False
        log.info("voice_rename_retried", engine_voice_id=engine_voice_id)
        return True

    async def _disown(self, slot: Slot) -> bool:
        """Make sure that nobody can give it an owner any more: neither who carries out its attempt after
        its time, nor who is removing it and may take that back. Looked up once more, for a pass that was
        held up: False when it has an owner by now."""
        voice = await self._voices.get(slot.user_id)
        clone, found = voice.clone, slot.engine_voice_id
        # The embedded engine's clone that was made instead has the same id.
        if clone and clone.in_pool and slot.attempt_id == clone.clone_id:
            return False
        if voice.is_claimed_by(slot.attempt_id):
            return await self._voices.replace(voice, voice.abandoned(self._clock()))
        if found and any(left.engine_voice_id == found for left in voice.leftovers):
            # Nothing changes but the revision, which is what taking it back rests on.
            return await self._voices.replace(voice, voice.cleaned(self._clock(), voice.leftovers))
        return True

    async def _left(self, user_id: str) -> None:
        try:
            await self._habits.left(user_id)
        except PinsUnavailable as error:
            # The index is rebuilt at the end of this pass or of the next one.
            log.warning("voice_habit_skipped", cause=str(error))
