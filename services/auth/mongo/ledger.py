"""The credit ledger: one document for each user and month decides, by conditional updates.

A month holds `used`, `committed` (used and reserved together, which the limit bounds), and the
entries of performances that are under way or ended a few minutes ago. Counters and entry change in
the same update, so a crash cannot part them. Older outcomes move to the archive, one document
each: first written there, then taken out here. Readers look here first, then there, so they miss none.
"""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

from pymongo import DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from services.auth.domain.credits import (
    OUTCOME_STAYS,
    Balance,
    Entry,
    State,
    charge,
    period_before,
    periods_at,
)
from services.auth.domain.errors import CreditsExhausted, ReservationNotFound, StorageUnavailable
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.entries import MOVED, entry_of, fields_of, month_id, path_of

# Each round is lost only to another call that changed the same performance.
_ROUNDS = 8

# Months taken up by one sweep; the next sweep takes the others.
_SWEPT_AT_ONCE = 100


class MongoLedger:
    def __init__(self, months: Collection, archive: Collection) -> None:
        self._months = months
        self._archive = archive

    async def prepare(self) -> None:
        await self._months.create_indexes(IndexModel("sweep_at", sparse=True, name="sweep"))
        await self._archive.create_indexes(
            IndexModel([("user_id", 1), ("at", DESCENDING)], name="statement"),
        )

    async def balance(self, user_id: str, period: str) -> Balance:
        found = await self._months.find_one(month_id(user_id, period), "used", "committed")
        if found is None:
            return Balance(period)
        return Balance(period, found["used"], found["committed"] - found["used"])

    async def reserve(self, wanted: Entry, limit: int) -> Entry:
        for _ in range(_ROUNDS):
            known = await self._find(wanted.user_id, wanted.performance_id, wanted.at)
            if known is not None:
                return known
            if not await self._leave_older_months(wanted):
                continue
            if await self._open(wanted, limit):
                return wanted
            wanted = await self._after_refusal(wanted, limit)
        raise StorageUnavailable("Too many calls about one performance.")

    async def _after_refusal(self, wanted: Entry, limit: int) -> Entry:
        """What to try next when the month did not take a reservation. Raises CreditsExhausted."""
        if await self._begin(wanted.user_id, wanted.period):
            return wanted
        # In one look, so that a repeated call never takes its own reservation for a full month.
        month = await self._months.find_one(
            month_id(wanted.user_id, wanted.period), "committed", path_of(wanted.performance_id)
        )
        if month is None:
            return wanted
        there = month.get("entries", {}).get(wanted.performance_id)
        if there is None and month["committed"] + wanted.reserved > limit:
            raise CreditsExhausted("The credits of this month are used up.")
        if there is not None and there["state"] == MOVED:
            # A replica whose clock is ahead has moved it on.
            return replace(wanted, period=periods_at(wanted.at)[-1])
        return wanted

    async def settle(self, user_id: str, performance_id: str, cost: int, limit: int, now: datetime) -> Entry:
        for _ in range(_ROUNDS):
            entry = await self._find(user_id, performance_id, now)
            if entry is None:
                raise ReservationNotFound("Nothing was reserved for this performance.")
            if entry.final:
                return entry
            room = 0
            if cost > entry.held:
                balance = await self.balance(user_id, entry.period)
                room = limit - balance.used - balance.reserved
            if settled := await self._end(entry, State.SETTLED, now, charge(entry, cost, room), limit):
                return settled
        raise StorageUnavailable("Too many calls about one performance.")

    async def release(self, user_id: str, performance_id: str, now: datetime) -> Entry:
        for _ in range(_ROUNDS):
            entry = await self._find(user_id, performance_id, now)
            if entry is None:
                released = await self._refuse_later(user_id, performance_id, now)
            elif entry.final:
                return entry
            else:
                released = await self._end(entry, State.RELEASED, now)
            if released is not None:
                return released
        raise StorageUnavailable("Too many calls about one performance.")

    async def sweep(self, now: datetime) -> list[Entry]:
        months = await self._months.find({"sweep_at": {"$lte": now}}, _SWEPT_AT_ONCE)
        expired: list[Entry] = []
        for month in months:
            expired += await self._sweep_month(month, now)
        return expired

    async def _find(self, user_id: str, performance_id: str, now: datetime) -> Entry | None:
        """A reservation lives for less than a month, so it is in one of these months or archived."""
        periods = dict.fromkeys((*periods_at(now), period_before(now)))
        kept = await asyncio.gather(*(self._kept(user_id, period, performance_id) for period in periods))
        for entry in kept:
            if entry is not None and entry["state"] != MOVED:
                return entry_of(performance_id, entry)
        archived = await self._archive.find_one(performance_id)
        if archived is None or archived["user_id"] != user_id:
            return None
        return entry_of(performance_id, archived)

    async def _kept(self, user_id: str, period: str, performance_id: str) -> Document | None:
        month = await self._months.find_one(month_id(user_id, period), path_of(performance_id))
        if month is None or performance_id not in month.get("entries", {}):
            return None
        return {**month["entries"][performance_id], "user_id": user_id, "period": period}

    async def _begin(self, user_id: str, period: str) -> bool:
        """False when the month had begun."""
        document = {"_id": month_id(user_id, period), "user_id": user_id, "period": period}
        return await self._months.insert_unless_there(
            {**document, "used": 0, "committed": 0, "revision": 0, "entries": {}}
        )

    async def _open(self, wanted: Entry, limit: int) -> bool:
        path = path_of(wanted.performance_id)
        return await self._months.update(
            {
                "_id": month_id(wanted.user_id, wanted.period),
                "committed": {"$lte": limit - wanted.reserved},
                path: {"$exists": False},
            },
            {
                "$set": {path: fields_of(wanted)},
                "$inc": {"committed": wanted.reserved, "revision": 1},
                "$min": {"sweep_at": wanted.due},
            },
        )

    async def _end(
        self, entry: Entry, state: State, now: datetime, charged: int = 0, limit: int | None = None
    ) -> Entry | None:
        """None when the entry, or the room for what is charged beyond it, changed meanwhile."""
        ended = replace(entry, state=state, charged=charged, at=now, due=now + OUTCOME_STAYS)
        path = path_of(entry.performance_id)
        unchanged: Document = {
            "_id": month_id(entry.user_id, entry.period),
            f"{path}.state": entry.state.value,
        }
        if limit is not None and entry.state is State.RESERVED and charged > entry.held:
            unchanged["committed"] = {"$lte": limit + entry.held - charged}
        change = {
            "$set": {path: fields_of(ended)},
            "$inc": {"used": charged, "committed": charged - entry.held, "revision": 1},
            "$min": {"sweep_at": ended.due},
        }
        if await self._months.update(unchanged, change):
            return ended
        if entry.state is State.EXPIRED:
            await self._put(entry)
        return None

    async def _put(self, entry: Entry) -> bool:
        """Put an entry that holds no credits into its month; False when one is there."""
        path = path_of(entry.performance_id)
        return await self._months.update(
            {"_id": month_id(entry.user_id, entry.period), path: {"$exists": False}},
            {
                "$set": {path: fields_of(entry)},
                "$inc": {"revision": 1},
                "$min": {"sweep_at": entry.due},
            },
        )

    async def _leave_older_months(self, wanted: Entry) -> bool:
        """At the turn of the month, settle with the older document that it never takes this one.

        False when it has, or another month is the newest after all.
        """
        for period in periods_at(wanted.at):
            if period >= wanted.period:
                break
            await self._begin(wanted.user_id, period)
            if not await self._mark_moved(wanted, period):
                return False
        return True

    async def _mark_moved(self, wanted: Entry, period: str) -> bool:
        path = path_of(wanted.performance_id)
        mark = {"state": MOVED, "at": wanted.at, "due": wanted.at + OUTCOME_STAYS}
        marked = await self._months.update(
            {"_id": month_id(wanted.user_id, period), path: {"$exists": False}},
            {"$set": {path: mark}, "$inc": {"revision": 1}, "$min": {"sweep_at": mark["due"]}},
        )
        if marked:
            return True
        there = await self._kept(wanted.user_id, period, wanted.performance_id)
        return there is not None and there["state"] == MOVED

    async def _refuse_later(self, user_id: str, performance_id: str, now: datetime) -> Entry | None:
        """Leave a released entry where a late reservation would go; None when one came first."""
        for period in periods_at(now):
            entry = Entry(performance_id, user_id, period, State.RELEASED, 0, 0, "", now, now + OUTCOME_STAYS)
            await self._begin(user_id, period)
            if await self._put(entry):
                return entry
            there = await self._kept(user_id, period, performance_id)
            if there is None or there["state"] != MOVED:
                return None
        return None

    async def _sweep_month(self, month: Document, now: datetime) -> list[Entry]:
        expired = []
        for performance_id, fields in month["entries"].items():
            if fields["due"] > now:
                continue
            if fields["state"] == MOVED:
                await self._take_out(month["_id"], performance_id, fields)
                continue
            whose = {"user_id": month["user_id"], "period": month["period"]}
            entry = entry_of(performance_id, {**fields, **whose})
            if entry.state is State.RESERVED:
                if ended := await self._end(entry, State.EXPIRED, now):
                    expired.append(ended)
            else:
                await self._to_archive(entry)
                await self._take_out(month["_id"], performance_id, fields)
        await self._plan_sweep(month["_id"])
        return expired

    async def _to_archive(self, entry: Entry) -> None:
        document = {
            **fields_of(entry),
            "_id": entry.performance_id,
            "user_id": entry.user_id,
            "period": entry.period,
        }
        try:
            await self._archive.replace({"_id": entry.performance_id, "at": {"$lte": entry.at}}, document)
        except DuplicateKeyError:
            # A newer outcome is archived already.
            return

    async def _take_out(self, month_id: str, performance_id: str, fields: Document) -> None:
        path = path_of(performance_id)
        await self._months.update(
            {"_id": month_id, f"{path}.state": fields["state"], f"{path}.at": fields["at"]},
            {"$unset": {path: ""}, "$inc": {"revision": 1}},
        )

    async def _plan_sweep(self, month_id: str) -> None:
        """Unless the month changes meanwhile: then it stays due and the next sweep plans again."""
        month = await self._months.find_one(month_id)
        if month is None:
            return
        due = [fields["due"] for fields in month["entries"].values()]
        plan: dict[str, Any] = {"$set": {"sweep_at": min(due)}} if due else {"$unset": {"sweep_at": ""}}
        await self._months.update({"_id": month_id, "revision": month["revision"]}, plan)
