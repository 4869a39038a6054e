"""The limited places for voices at a provider: who is given one, who makes room, what became of an add."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from services.kernel.errors import ServiceError
from services.voice.domain import Leftover, PinsUnavailable, Voice
from services.voice.pool.admitting import Admission, Admitting
from services.voice.pool.allowances import Allowances, PoolRules
from services.voice.pool.evicting import MISSING, OPERATOR, WITHOUT_EFFECT, Evicting, Eviction, Records
from services.voice.pool.naming import named_by_its_id
from services.voice.ports import PooledProvider, ProviderAddsSpent, ProviderBusy, ProviderPlacesTaken
from services.voice.slots import SlotState, Standing
from services.voice.works import Works

__all__ = ["MISSING", "OPERATOR", "Admission", "Eviction", "Pool", "PoolRules", "Records"]

log = structlog.get_logger()

# After these an add has certainly made no voice.
NO_VOICE = (ProviderPlacesTaken, ProviderAddsSpent, *WITHOUT_EFFECT)

# A search for a voice whose add had no answer must end within the upload that it is for.
_SEARCH_SECONDS = 3.0
_CLOSED_SECONDS = 2.0


class Pool:
    """Every voice at the provider is in a place, which is taken before its add is sent, and given back only
    when it is certain that it holds none."""

    def __init__(
        self,
        provider: PooledProvider,
        records: Records,
        rules: PoolRules,
        works: Works,
        clock: Callable[[], datetime],
    ) -> None:
        self.provider = provider
        self._works = works
        self._rename = rules.rename
        self._voices = records.voices
        self._slots = records.slots
        self._pins = records.pins
        self._habits = records.habits
        self._clock = clock
        self._allowances = Allowances(provider, records.slots, works, rules, clock)
        self._evicting = Evicting(provider, records, clock)
        self._admitting = Admitting(records, self._allowances, self._evicting, rules.policy, clock)

    async def consider(self, user_id: str, sample_hash: str) -> Admission:
        """Would the user be given a place now? Takes none. Counts as having asked."""
        return await self._admitting.consider(user_id, sample_hash)

    async def admit(self, claimed: Voice) -> Admission:
        """Take a place and an add for the attempt that is under way, and make room for it if need be."""
        return await self._admitting.admit(claimed)

    async def settle(self, user_id: str, attempt_id: str, engine_voice_id: str) -> None:
        """The add took effect, and the user's document names its voice."""
        now = self._clock()
        await self._slots.change(attempt_id, SlotState.HELD, now, engine_voice_id)
        with suppress(PinsUnavailable):
            await self._habits.cloned(user_id, now.timestamp())
            await self._habits.entered(user_id, now.timestamp())
        if self._rename:
            self._works.start(f"rename {engine_voice_id}", lambda: self._named(engine_voice_id))

    async def withdraw(self, attempt_id: str, error: ServiceError) -> None:
        """The add took no effect: place and add are as before."""
        await self._slots.give_back(attempt_id, unspent=True)
        if isinstance(error, ProviderPlacesTaken | ProviderAddsSpent):
            await self._allowances.refresh()
        elif not isinstance(error, ProviderBusy):
            self._admitting.close_for(_CLOSED_SECONDS)

    async def find(self, attempt_id: str) -> str:
        """The voice of an add whose answer was lost; empty when it is not there, or not yet."""
        try:
            async with asyncio.timeout(_SEARCH_SECONDS):
                held = await self.provider.held()
        except (ServiceError, TimeoutError):
            return ""
        found = (voice.engine_voice_id for voice in held if voice.attempt_id == attempt_id)
        return next(found, "")

    async def discard(self, left: Leftover) -> None:
        """Remove a voice that nobody has any more, and give its place back. Safe to repeat."""
        await self._evicting.discard(left)

    async def evict(self, user_id: str, cause: str, only: str = "") -> Eviction:
        """Take the user's voice from its place, if it is the one that is named; sample and standby stay."""
        return await self._evicting.evict(user_id, cause, only=only)

    async def lost(self, user_id: str, engine_voice_id: str) -> Eviction:
        """The provider no longer has the voice: somebody removed it behind our back."""
        log.warning("voice_missing_detected", missing_user_id=user_id, engine_voice_id=engine_voice_id)
        return await self._evicting.evict(user_id, MISSING, only=engine_voice_id, spare_pinned=False)

    async def is_pinned(self, user_id: str) -> bool:
        """True also when Valkey cannot say."""
        try:
            return await self._pins.pinned(user_id, self._clock()) > 0
        except PinsUnavailable:
            return True

    async def holds(self, user_id: str) -> bool:
        """Is there, or may there be, a voice of this user at the provider?"""
        return any(slot.user_id == user_id for slot in (await self._slots.read()).slots)

    async def performed(self, user_id: str, performance_id: str, *, reused: bool) -> None:
        """A performance began. Counted where that is possible: losing it costs time, never truth."""
        now = self._clock().timestamp()
        with suppress(PinsUnavailable):
            await self._habits.performed(user_id, performance_id, now, reused=reused)
            if reused:
                await self._habits.touched(user_id, now)

    async def touched(self, user_id: str) -> Standing:
        """The voice counts as used now; where it stands among those at the provider."""
        try:
            return await self._habits.touched(user_id, self._clock().timestamp())
        except PinsUnavailable:
            return Standing(None, len((await self._slots.read()).slots))

    async def _named(self, engine_voice_id: str) -> None:
        """When this fails, the reconciler does it."""
        try:
            await named_by_its_id(self.provider, self._slots, engine_voice_id, self._clock())
        except ServiceError as error:
            log.warning("voice_rename_postponed", engine_voice_id=engine_voice_id, cause=error.reason)
