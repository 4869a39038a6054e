"""One round of the sweeper: reservations that nobody ended expire, old outcomes move to the archive."""

from datetime import datetime
from typing import Any

from services.auth.domain.credits import Entry, State
from services.auth.mongo.collection import Document
from services.auth.mongo.entries import MOVED, entry_of, path_of
from services.auth.mongo.months import Months

# Months taken up by one sweep; the next sweep takes the others.
_SWEPT_AT_ONCE = 100


async def sweep(months: Months, now: datetime) -> list[Entry]:
    """What expired by it; safe to run anywhere, any number of times at once."""
    expired: list[Entry] = []
    for month in await months.months.find({"sweep_at": {"$lte": now}}, _SWEPT_AT_ONCE):
        expired += await _sweep_month(months, month, now)
    return expired


async def _sweep_month(months: Months, month: Document, now: datetime) -> list[Entry]:
    expired = []
    for entry_id, fields in month["entries"].items():
        if fields["due"] > now:
            continue
        if fields["state"] == MOVED:
            await _take_out(months, month["_id"], entry_id, fields)
            continue
        entry = entry_of(entry_id, {**fields, "user_id": month["user_id"], "period": month["period"]})
        if entry.state is State.RESERVED:
            if ended := await months.end(entry, State.EXPIRED, now):
                expired.append(ended)
        else:
            await months.to_archive(entry)
            await _take_out(months, month["_id"], entry_id, fields)
    await _plan_sweep(months, month["_id"])
    return expired


async def _take_out(months: Months, month_id: str, entry_id: str, fields: Document) -> None:
    path = path_of(entry_id)
    await months.months.update(
        {"_id": month_id, f"{path}.state": fields["state"], f"{path}.at": fields["at"]},
        {"$unset": {path: ""}, "$inc": {"revision": 1}},
    )


async def _plan_sweep(months: Months, month_id: str) -> None:
    """Unless the month changes meanwhile: then it stays due and the next sweep plans again."""
    month = await months.months.find_one(month_id)
    if month is None:
        return
    due = [fields["due"] for fields in month["entries"].values()]
    plan: dict[str, Any] = {"$set": {"sweep_at": min(due)}} if due else {"$unset": {"sweep_at": ""}}
    await months.months.update({"_id": month_id, "revision": month["revision"]}, plan)
