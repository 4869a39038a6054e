"""A user's statement: the entries of the running months and of the archive, as one list."""

from datetime import datetime

from services.auth.domain.credits import Entry, entry_id_of, periods_that_may_hold
from services.auth.domain.paging import Place
from services.auth.mongo.collection import Collection
from services.auth.mongo.entries import MOVED, entry_of, month_id
from services.auth.mongo.paging import later_than, order_of


class MongoStatement:
    def __init__(self, months: Collection, archive: Collection) -> None:
        self._months = months
        self._archive = archive

    async def page(self, user_id: str, after: Place | None, limit: int, now: datetime) -> list[Entry]:
        """The months are read first, so that an entry on its way to the archive is in one of the two."""
        current = await self._current(user_id, now)
        where = {
            "user_id": user_id,
            **later_than("at", after),
            # Also those that were archived once and came back, when they were heard after they expired.
            "_id": {"$nin": [entry.filed for entry in current]},
        }
        found = await self._archive.find(where, limit, sort=order_of("at"))
        archived = [entry_of(entry_id_of(each["_id"]), each) for each in found]
        behind = [entry for entry in current if after is None or _order(entry) < (after.at, after.thing_id)]
        return sorted(behind + archived, key=_order, reverse=True)[:limit]

    async def _current(self, user_id: str, now: datetime) -> list[Entry]:
        ids = [month_id(user_id, period) for period in periods_that_may_hold(now)]
        return [
            entry_of(entry_id, {**fields, "user_id": user_id, "period": month["period"]})
            for month in await self._months.find({"_id": {"$in": ids}}, len(ids))
            for entry_id, fields in month["entries"].items()
            if fields["state"] != MOVED
        ]


def _order(entry: Entry) -> tuple[datetime, str]:
    return entry.at, entry.filed
