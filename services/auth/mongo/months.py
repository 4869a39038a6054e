"""The documents of the credit ledger: one for each user and month, and the archive.

A month holds `used`, `committed` (used and reserved, less what administrators gave: what the plan's
limit bounds), `adjusted` (what they gave), and the entries of performances that are under way or
ended a few minutes ago. Counters and entry change in the same update, so a crash cannot part them.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pymongo import DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from services.auth.domain.credits import (
    OUTCOME_STAYS,
    Balance,
    Entry,
    State,
    filed_under,
    periods_that_may_hold,
)
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.entries import (
    MOVED,
    entry_of,
    fields_of,
    month_id,
    path_of,
)

_COUNTERS = ("used", "committed", "adjusted")


class Months:
    def __init__(self, months: Collection, archive: Collection) -> None:
        self.months = months
        self.archive = archive

    async def prepare(self) -> None:
        await self.months.create_indexes(
            IndexModel("sweep_at", sparse=True, name="sweep"), IndexModel("user_id", name="user")
        )
        await self.archive.create_indexes(
            IndexModel([("user_id", 1), ("at", DESCENDING), ("_id", DESCENDING)], name="statement"),
        )

    async def balance(self, user_id: str, period: str) -> Balance:
        return _balance(period, await self.months.find_one(month_id(user_id, period), *_COUNTERS))

    async def balances(self, user_ids: Sequence[str], period: str) -> dict[str, Balance]:
        ids = {month_id(user_id, period): user_id for user_id in user_ids}
        found = await self.months.find({"_id": {"$in": list(ids)}}, len(ids), fields=_COUNTERS) if ids else []
        months = {month["_id"]: month for month in found}
        return {user_id: _balance(period, months.get(each)) for each, user_id in ids.items()}

    async def find(self, user_id: str, entry_id: str, now: datetime) -> Entry | None:
        """A reservation lives for less than a month, so it is in one of these months or archived."""
        for entry in await self._kept(user_id, periods_that_may_hold(now), entry_id):
            if entry["state"] != MOVED:
                return entry_of(entry_id, entry)
        archived = await self.archive.find_one(filed_under(user_id, entry_id))
        if archived is None or archived["user_id"] != user_id:
            return None
        return entry_of(entry_id, archived)

    async def kept(self, user_id: str, period: str, entry_id: str) -> Document | None:
        found = await self._kept(user_id, [period], entry_id)
        return found[0] if found else None

    async def _kept(self, user_id: str, periods: Sequence[str], entry_id: str) -> list[Document]:
        ids = [month_id(user_id, period) for period in periods]
        months = await self.months.find(
            {"_id": {"$in": ids}}, len(ids), fields=("user_id", "period", path_of(entry_id))
        )
        return [
            {**month["entries"][entry_id], "user_id": month["user_id"], "period": month["period"]}
            for month in months
            if entry_id in month.get("entries", {})
        ]

    async def begin(self, user_id: str, period: str) -> bool:
        """False when the month had begun."""
        document = {"_id": month_id(user_id, period), "user_id": user_id, "period": period}
        return await self.months.insert_unless_there(
            {**document, "used": 0, "committed": 0, "adjusted": 0, "revision": 0, "entries": {}}
        )

    async def open(self, wanted: Entry, limit: int) -> bool:
        """Write a new entry and what it takes of the limit; False unless it is new and there is room."""
        path, takes = path_of(wanted.entry_id), wanted.held - wanted.adjusts
        where: Document = {"_id": month_id(wanted.user_id, wanted.period), path: {"$exists": False}}
        # What gives credits fits also into a month that is above its limit.
        if takes > 0:
            where["committed"] = {"$lte": limit - takes}
        return await self.months.update(
            where,
            {
                "$set": {path: fields_of(wanted)},
                "$inc": {"committed": takes, "adjusted": wanted.adjusts, "revision": 1},
                "$min": {"sweep_at": wanted.due},
            },
        )

    async def end(
        self, entry: Entry, state: State, now: datetime, charged: int = 0, limit: int | None = None
    ) -> Entry | None:
        """None when the entry, or the room for what is charged beyond it, changed meanwhile."""
        ended = replace(entry, state=state, charged=charged, at=now, due=now + OUTCOME_STAYS)
        path = path_of(entry.entry_id)
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
        if await self.months.update(unchanged, change):
            return ended
        if entry.state is State.EXPIRED:
            await self.put(entry)
        return None

    async def put(self, entry: Entry) -> bool:
        """Put an entry that holds no credits into its month; False when one is there."""
        return await self._put(entry.user_id, entry.period, entry.entry_id, fields_of(entry))

    async def mark_moved(self, wanted: Entry, period: str) -> bool:
        """Leave the mark that this month never takes the entry; False when it has."""
        mark = {"state": MOVED, "at": wanted.at, "due": wanted.at + OUTCOME_STAYS}
        if await self._put(wanted.user_id, period, wanted.entry_id, mark):
            return True
        there = await self.kept(wanted.user_id, period, wanted.entry_id)
        return there is not None and there["state"] == MOVED

    async def _put(self, user_id: str, period: str, entry_id: str, fields: Document) -> bool:
        path = path_of(entry_id)
        return await self.months.update(
            {"_id": month_id(user_id, period), path: {"$exists": False}},
            {"$set": {path: fields}, "$inc": {"revision": 1}, "$min": {"sweep_at": fields["due"]}},
        )

    async def to_archive(self, entry: Entry) -> None:
        whose = {"_id": entry.filed, "user_id": entry.user_id, "period": entry.period}
        try:
            await self.archive.replace(
                {"_id": entry.filed, "at": {"$lte": entry.at}}, {**fields_of(entry), **whose}
            )
        except DuplicateKeyError:
            # A newer outcome is archived already.
            return


def _balance(period: str, month: Document | None) -> Balance:
    if month is None:
        return Balance(period)
    used, adjusted = month["used"], month.get("adjusted", 0)
    return Balance(period, used, month["committed"] + adjusted - used, adjusted)
