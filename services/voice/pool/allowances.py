"""What the provider sells us, as it stands in the ledger; asked again when that is old."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Gauge

from services.kernel.errors import ServiceError
from services.voice.policy import Policy
from services.voice.ports import Places
from services.voice.slots import Ledger, Slots
from services.voice.works import Works

log = structlog.get_logger()

SIZE = Gauge("voice_pool_size_places", "Places taken at the provider, as of the last look.")
ADDS_LEFT = Gauge("voice_pool_adds_left_count", "Voices that may still be made in this billing cycle.")

# How long a decision waits for a newer figure before it is made with what is known.
_PATIENCE_SECONDS: Final = 2.0
_AFTER_FAILURE: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class PoolRules:
    policy: Policy
    # How old the plan's figures may be when a place is given.
    fresh: timedelta = timedelta(minutes=1)
    # A ceiling of ours; None for all that the plan has.
    most_places: int | None = None
    # Give each voice its own id as its name, which spends another add.
    rename: bool = False


class Allowances:
    def __init__(
        self,
        provider: Places,
        slots: Slots,
        works: Works,
        rules: PoolRules,
        clock: Callable[[], datetime],
    ) -> None:
        self._provider = provider
        self._slots = slots
        self._works = works
        self._fresh = rules.fresh
        self._clock = clock
        self._most_places = rules.most_places
        self._not_before: datetime | None = None

    async def ledger(self) -> Ledger:
        """With a capacity that is None only while the provider could never be asked."""
        ledger = await self._slots.read()
        if self._is_old(ledger):
            await self.refresh()
            ledger = await self._slots.read()
        SIZE.set(len(ledger.slots))
        if ledger.adds_left is not None:
            ADDS_LEFT.set(ledger.adds_left)
        return ledger

    async def refresh(self) -> None:
        """Now; a failure is no more than a warning, and a late answer is not waited for."""
        task = self._works.start("allowance", self._refresh)
        await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)

    def _is_old(self, ledger: Ledger) -> bool:
        now = self._clock()
        if self._not_before and now < self._not_before:
            return False
        if ledger.refreshed_at is None or now - ledger.refreshed_at >= self._fresh:
            return True
        return ledger.renewed_at is not None and ledger.refreshed_at < ledger.renewed_at <= now

    async def _refresh(self) -> None:
        try:
            before = await self._slots.read()
            allowance = await self._provider.allowance()
            now = self._clock()
            after = await self._slots.read()
            # A place may have been taken or given back while the provider counted.
            ours = {slot.engine_voice_id for ledger in (before, after) for slot in ledger.slots}
            foreign = await self._foreign(ours) if allowance.places_taken else 0
            await self._slots.refreshed(allowance, foreign, self._most_places, now)
        except ServiceError as error:
            self._not_before = self._clock() + _AFTER_FAILURE
            log.warning("voice_allowance_not_refreshed", cause=error.reason)

    async def _foreign(self, ours: Collection[str]) -> int:
        """Looked at one by one. As what our places leave of the provider's count they would seem to be gone
        while adds are under way, whose voices are not there yet."""
        held = await self._provider.held()
        return sum(
            not (voice.user_id and voice.attempt_id) and voice.engine_voice_id not in ours for voice in held
        )
