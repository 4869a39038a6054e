"""The credit ledger: one document for each user and month decides, by conditional updates.

Older outcomes move to the archive, one document each: first written there, then taken out of the
month. Calls look in the month first, then in the archive, so they miss none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.auth.domain.credits import (
    JUST_BEGUN,
    OUTCOME_STAYS,
    Balance,
    Entry,
    State,
    charge,
    periods_at,
)
from services.auth.domain.errors import CreditsExhausted, ReservationNotFound, StorageUnavailable
from services.auth.mongo import credit_sweep
from services.auth.mongo.collection import Collection
from services.auth.mongo.entries import MOVED, month_id, path_of
from services.auth.mongo.months import Months

# Each round is lost only to another call that changed the same performance.
_ROUNDS = 8


class MongoLedger:
    def __init__(self, months: Collection, archive: Collection) -> None:
        self._months = Months(months, archive)

    async def prepare(self) -> None:
        await self._months.prepare()

    async def balance(self, user_id: str, period: str) -> Balance:
        return await self._months.balance(user_id, period)

    async def balances(self, user_ids: Sequence[str], period: str) -> Mapping[str, Balance]:
        return await self._months.balances(user_ids, period)

    async def reserve(self, wanted: Entry, limit: int, began_at: datetime | None = None) -> Entry:
        just_begun = began_at is not None and abs(wanted.at - began_at) <= JUST_BEGUN
        return await self._enter(wanted, limit, look_first=not just_begun)

    async def find(self, user_id: str, entry_id: str, now: datetime) -> Entry | None:
        return await self._months.find(user_id, entry_id, now)

    async def adjust(self, wanted: Entry, limit: int) -> Entry:
        return await self._enter(wanted, limit, look_first=True)

    async def _enter(self, wanted: Entry, limit: int, *, look_first: bool) -> Entry:
        """Without a look first, one update is all there is to do, unless it is refused."""
        for _ in range(_ROUNDS):
            known = await self.find(wanted.user_id, wanted.entry_id, wanted.at) if look_first else None
            if known is not None:
                return known
            look_first = True
            if not await self._leave_older_months(wanted):
                continue
            if await self._months.open(wanted, limit):
                return wanted
            wanted = await self._after_refusal(wanted, limit)
        raise StorageUnavailable("Too many calls about one performance.")

    async def _after_refusal(self, wanted: Entry, limit: int) -> Entry:
        """What to try next when the month did not take an entry. Raises CreditsExhausted."""
        if await self._months.begin(wanted.user_id, wanted.period):
            return wanted
        # In one look, so that a repeated call never takes its own reservation for a full month.
        month = await self._months.months.find_one(
            month_id(wanted.user_id, wanted.period), "committed", path_of(wanted.entry_id)
        )
        if month is None:
            return wanted
        there = month.get("entries", {}).get(wanted.entry_id)
        if there is None and month["committed"] + wanted.held - wanted.adjusts > limit:
            raise CreditsExhausted("The credits of this month are used up.")
        if there is not None and there["state"] == MOVED:
            # A replica whose clock is ahead has moved it on.
            return replace(wanted, period=periods_at(wanted.at)[-1])
        return wanted

    async def settle(self, user_id: str, performance_id: str, cost: int, limit: int, now: datetime) -> Entry:
        for _ in range(_ROUNDS):
            entry = await self._months.find(user_id, performance_id, now)
            if entry is None:
                raise ReservationNotFound("Nothing was reserved for this performance.")
            if entry.final:
                return entry
            room = 0
            if cost > entry.held:
                room = (await self.balance(user_id, entry.period)).left(limit)
            charged = charge(entry, cost, room)
            if settled := await self._months.end(entry, State.SETTLED, now, charged, limit):
                return settled
        raise StorageUnavailable("Too many calls about one performance.")

    async def settle_as_reserved(self, reserved: Entry, cost: int, now: datetime) -> Entry | None:
        if reserved.state is not State.RESERVED or cost > reserved.held:
            return None
        return await self._months.end(reserved, State.SETTLED, now, cost)

    async def release(self, user_id: str, performance_id: str, now: datetime) -> Entry:
        for _ in range(_ROUNDS):
            entry = await self._months.find(user_id, performance_id, now)
            if entry is None:
                released = await self._refuse_later(user_id, performance_id, now)
            elif entry.final:
                return entry
            else:
                released = await self._months.end(entry, State.RELEASED, now)
            if released is not None:
                return released
        raise StorageUnavailable("Too many calls about one performance.")

    async def sweep(self, now: datetime) -> list[Entry]:
        return await credit_sweep.sweep(self._months, now)

    async def _leave_older_months(self, wanted: Entry) -> bool:
        """At the turn of the month, settle with the older document that it never takes this one.

        False when it has, or another month is the newest after all.
        """
        for period in periods_at(wanted.at):
            if period >= wanted.period:
                break
            await self._months.begin(wanted.user_id, period)
            if not await self._months.mark_moved(wanted, period):
                return False
        return True

    async def _refuse_later(self, user_id: str, performance_id: str, now: datetime) -> Entry | None:
        """Leave a released entry where a late reservation would go; None when one came first."""
        for period in periods_at(now):
            entry = Entry(performance_id, user_id, period, State.RELEASED, 0, 0, "", now, now + OUTCOME_STAYS)
            await self._months.begin(user_id, period)
            if await self._months.put(entry):
                return entry
            there = await self._months.kept(user_id, period, performance_id)
            if there is None or there["state"] != MOVED:
                return None
        return None
