"""What is removed because it is old. Every range is bounded on both sides, as indexes need it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING, IndexModel

from services.auth.domain.credits import period_of
from services.auth.mongo.collection import Collection

_LONG_AGO, _FIRST_PERIOD = datetime(2020, 1, 1, tzinfo=UTC), "2020-01"
# Removed by one round; the next round takes the others.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class MongoAging:
    sessions: Collection
    audit_entries: Collection
    credit_months: Collection
    credit_entries: Collection

    async def prepare(self) -> None:
        await self.sessions.create_indexes(IndexModel("revoked_at", name="revoked"))
        await self.audit_entries.create_indexes(IndexModel([("at", ASCENDING)], name="oldest_first"))
        await self.credit_months.create_indexes(IndexModel("period", name="period"))
        await self.credit_entries.create_indexes(IndexModel([("at", ASCENDING)], name="oldest_first"))

    async def drop_sessions(self, ended_before: datetime) -> int:
        """Those that were ended; those that ran out are removed by their own index."""
        return await _drop(self.sessions, {"revoked_at": {"$gte": _LONG_AGO, "$lt": ended_before}})

    async def drop_audit_entries(self, before: datetime) -> int:
        return await _drop(self.audit_entries, {"at": {"$gte": _LONG_AGO, "$lt": before}})

    async def drop_credit_entries(self, before: datetime) -> int:
        months = {"period": {"$gte": _FIRST_PERIOD, "$lt": period_of(before)}}
        return await _drop(self.credit_entries, {"at": {"$gte": _LONG_AGO, "$lt": before}}) + await _drop(
            self.credit_months, months
        )


async def _drop(collection: Collection, where: Mapping[str, Any]) -> int:
    found = [each["_id"] for each in await collection.find(where, _AT_ONCE)]
    return await collection.delete_all({"_id": {"$in": found}}) if found else 0
