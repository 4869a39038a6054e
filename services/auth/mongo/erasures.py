"""Erasures: one document each, which is the intent at first and the proof in the end."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pymongo import IndexModel

from services.auth.domain.erasure import AskedBy, Erasure
from services.auth.mongo.collection import Collection, Document

# The range is bounded on both sides: an open end would read documents without the field.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class MongoErasures:
    def __init__(self, erasures: Collection) -> None:
        self._erasures = erasures

    async def prepare(self) -> None:
        await self._erasures.create_indexes(
            IndexModel("reference", unique=True, name="reference"),
            IndexModel("due_at", sparse=True, name="due"),
        )

    async def add(self, erasure: Erasure) -> Erasure | None:
        document: Document = {
            "_id": erasure.erasure_id,
            "reference": erasure.reference,
            "asked_by": erasure.asked_by.value,
            "asked_at": erasure.asked_at,
            "sealed": erasure.sealed,
            "pseudonym": erasure.pseudonym,
            "due_at": erasure.due_at,
            "steps": {},
        }
        if await self._erasures.insert_unless_there(document):
            return None
        return await self.of(erasure.reference)

    async def of(self, reference: str) -> Erasure | None:
        found = await self._erasures.find_by("reference", reference)
        return _erasure(found) if found else None

    async def due(self, now: datetime, limit: int) -> list[Erasure]:
        found = await self._erasures.find({"due_at": {"$gte": _LONG_AGO, "$lte": now}}, limit)
        return [_erasure(each) for each in found]

    async def take(self, erasure: Erasure, until: datetime) -> bool:
        unchanged = {"_id": erasure.erasure_id, "due_at": erasure.due_at}
        return await self._erasures.update(unchanged, {"$set": {"due_at": until}})

    async def count(self, erasure_id: str, step: str, counts: Mapping[str, int]) -> None:
        found = {f"steps.{step}.erased.{what}": count for what, count in counts.items()}
        if found:
            await self._erasures.update({"_id": erasure_id}, {"$inc": found})

    async def step_done(self, erasure_id: str, step: str, now: datetime) -> None:
        await self._erasures.update({"_id": erasure_id}, {"$set": {f"steps.{step}.done_at": now}})

    async def postpone(self, erasure_id: str, until: datetime) -> None:
        # Not one that another replica has brought to its end meanwhile.
        unconfirmed = {"_id": erasure_id, "confirmed_at": None}
        await self._erasures.update(unconfirmed, {"$set": {"due_at": until}})

    async def complete(self, erasure_id: str, now: datetime, look_again: datetime, pseudonym: str) -> None:
        change = {"completed_at": now, "due_at": look_again, "pseudonym": pseudonym}
        await self._erasures.update({"_id": erasure_id, "completed_at": None}, {"$set": change})

    async def confirm(self, erasure_id: str, now: datetime) -> None:
        await self._erasures.update(
            {"_id": erasure_id, "confirmed_at": None},
            {"$set": {"confirmed_at": now}, "$unset": {"sealed": "", "pseudonym": "", "due_at": ""}},
        )


def _erasure(found: Document) -> Erasure:
    return Erasure(
        erasure_id=found["_id"],
        reference=found["reference"],
        asked_by=AskedBy(found["asked_by"]),
        asked_at=found["asked_at"],
        sealed=bytes(found.get("sealed", b"")),
        pseudonym=found.get("pseudonym", ""),
        due_at=found.get("due_at"),
        done_steps=frozenset(name for name, step in found["steps"].items() if "done_at" in step),
        completed_at=found.get("completed_at"),
        confirmed_at=found.get("confirmed_at"),
    )
