"""Performances and their recordings in MongoDB: one document for both, so that one write decides.

Every list the queries walk is an index prefix with a range that is bounded on both sides.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from services.kernel import database
from services.perform.documents import (
    charge_of,
    document_of,
    failure_of,
    key_of,
    no_key,
    performance_in,
    recording_in,
    recording_of,
)
from services.perform.domain import Charge, Failure, Performance, Phase, Recording, State, Usage
from services.perform.errors import PerformanceInterrupted, RecordingNotFound, StorageUnavailable
from services.perform.filing import FIRST_PLACE, NEWEST_PLACE, RecordingFilter, place, place_at

log = structlog.get_logger()

# Below every moment that can occur; an open end would read entries without the field.
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# A page is nearly always within; what is older is read in a second query.
_RECENT = timedelta(days=31)
# Each is lost only to a holder who failed between two questions.
_ROUNDS = 20


class MongoPerformances:
    """Implements Performances, Recordings and Turns."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], name: str) -> None:
        self._client = client
        self._performances: AsyncCollection[dict[str, Any]] = client[name]["performances"]
        self._turns: AsyncCollection[dict[str, Any]] = client[name]["turns"]

    async def prepare(self) -> None:
        """Indexes, before there is anything to index."""
        with reached():
            await self._performances.create_index([("user_id", ASCENDING), ("key", ASCENDING)], unique=True)
            # Ascending: on a descending one the embedded server leaves out what a range should find.
            await self._performances.create_index([("user_id", ASCENDING), ("place", ASCENDING)])
            await self._performances.create_index([("due_at", ASCENDING)])
            # For the end of retention, which looks at everybody's.
            await self._performances.create_index([("place", ASCENDING)], sparse=True)
            await self._performances.create_index([("expires_at", ASCENDING)], expireAfterSeconds=0)

    async def ping(self) -> None:
        with reached():
            await self._client.admin.command("ping")

    async def claim(self, performance: Performance) -> Performance | None:
        for _ in range(_ROUNDS):
            with reached():
                try:
                    await self._performances.insert_one(document_of(performance))
                    return None
                except DuplicateKeyError:
                    pass
            # Gone again when the holder failed meanwhile.
            if (holder := await self.holder(performance)) is not None:
                return holder
        log.error("key_held_by_nobody", performance_id=str(performance.performance_id))
        raise StorageUnavailable("The request cannot be told from others right now.")

    async def holder(self, performance: Performance) -> Performance | None:
        with reached():
            found = await self._performances.find_one(
                {"user_id": performance.user_id, "key": key_of(performance)}
            )
        return None if found is None else performance_in(found)

    async def find(self, performance_id: UUID) -> Performance | None:
        with reached():
            found = await self._performances.find_one({"_id": performance_id})
        return None if found is None else performance_in(found)

    async def renew(self, performance_id: UUID, due_at: datetime) -> bool:
        expected = {"_id": performance_id, "phase": {"$in": [Phase.DOING, Phase.KEEPING]}}
        return await self._change(expected, {"$set": {"due_at": due_at}})

    async def free_key(self, performance_id: UUID) -> None:
        ended = {"_id": performance_id, "phase": {"$in": [Phase.DONE, Phase.PURGING]}}
        await self._change(ended, {"$set": {"key": no_key(performance_id)}})

    async def keep(self, recording: Recording, due_at: datetime) -> None:
        kept = {
            "phase": Phase.KEEPING,
            "due_at": due_at,
            "place": place(recording.created_at, recording.recording_id),
            "recording": recording_of(recording),
        }
        expected = {"_id": recording.recording_id, "phase": Phase.DOING}
        if not await self._change(expected, {"$set": kept}):
            raise PerformanceInterrupted("The performance took too long and was undone.")

    async def begin_undo(self, performance_id: UUID) -> bool:
        expected = {"_id": performance_id, "phase": Phase.DOING}
        return await self._change(expected, {"$set": {"phase": Phase.UNDOING}})

    async def fail(
        self, performance_id: UUID, state: State, failure: Failure, ended_at: datetime, until: datetime
    ) -> None:
        ended = {
            "phase": Phase.DONE,
            "state": state,
            "failure": failure_of(failure),
            "key": no_key(performance_id),
            "ended_at": ended_at,
            "expires_at": until,
        }
        expected = {"_id": performance_id, "phase": Phase.UNDOING}
        await self._change(expected, {"$set": ended, "$unset": {"due_at": ""}})

    async def succeed(self, performance_id: UUID, charge: Charge, ended_at: datetime) -> None:
        ended = {
            "phase": Phase.DONE,
            "state": State.SUCCEEDED,
            "charge": charge_of(charge),
            "ended_at": ended_at,
        }
        expected = {"_id": performance_id, "phase": Phase.KEEPING}
        await self._change(expected, {"$set": ended, "$unset": {"due_at": ""}})

    async def due(self, now: datetime, phases: Collection[Phase], limit: int) -> list[Performance]:
        late = {"due_at": {"$gte": _LONG_AGO, "$lte": now}, "phase": {"$in": list(phases)}}
        with reached():
            found = self._performances.find(late).limit(limit)
            return [performance_in(document) async for document in found]

    async def take_over(self, performance: Performance, until: datetime) -> bool:
        phase = Phase.UNDOING if performance.phase is Phase.DOING else performance.phase
        expected = {
            "_id": performance.performance_id,
            "phase": performance.phase,
            "due_at": performance.due_at,
        }
        return await self._change(expected, {"$set": {"phase": phase, "due_at": until}})

    async def of_user(self, user_id: str, limit: int) -> list[Performance]:
        with reached():
            found = self._performances.find({"user_id": user_id}).limit(limit)
            return [performance_in(document) async for document in found]

    async def remove(self, performance_id: UUID) -> None:
        with reached():
            await self._performances.delete_one({"_id": performance_id})

    async def older_than(self, moment: datetime, limit: int) -> Sequence[Recording]:
        before = {"place": {"$gte": FIRST_PLACE, "$lt": place_at(moment)}, "phase": Phase.DONE}
        with reached():
            found = self._performances.find(before).limit(limit)
            return [recording_in(document) async for document in found]

    async def page(self, user_id: str, wanted: RecordingFilter, limit: int) -> Sequence[Recording]:
        """The embedded server reads all of a range to sort it, so the usual range is short."""
        newest = min(wanted.before, place_at(datetime.now(UTC) + timedelta(days=1)))
        month = place_at(datetime.fromtimestamp(int(newest[:14]) / 1000, UTC) - _RECENT)
        recent = max(wanted.first, min(month, newest))
        kept: dict[str, Any] = {"user_id": user_id}
        if wanted.voice_source:
            kept["recording.voice_source"] = wanted.voice_source
        found = await self._between(kept, recent, newest, limit)
        if len(found) < limit and wanted.first < recent:
            found += await self._between(kept, wanted.first, recent, limit - len(found))
        return found

    async def _between(self, kept: dict[str, Any], first: str, before: str, limit: int) -> list[Recording]:
        with reached():
            found = self._performances.find({**kept, "place": {"$gte": first, "$lt": before}})
            in_order = found.sort([("place", DESCENDING)]).limit(limit)
            return [recording_in(document) async for document in in_order]

    async def get(self, user_id: str, recording_id: UUID) -> Recording:
        with reached():
            found = await self._performances.find_one({"_id": recording_id})
        if found is None or found["user_id"] != user_id or "place" not in found:
            raise RecordingNotFound("There is no such recording.")
        return recording_in(found)

    async def change(self, user_id: str, recording_id: UUID, title: str | None, day: str | None) -> Recording:
        given = {"recording.title": title, "recording.date": day}
        changes = {name: value for name, value in given.items() if value is not None}
        expected = {"_id": recording_id, "user_id": user_id, "place": {"$gte": FIRST_PLACE}}
        if changes:
            await self._change(expected, {"$set": changes})
        return await self.get(user_id, recording_id)

    async def hide(self, user_id: str, recording_id: UUID, due_at: datetime) -> None:
        expected = {
            "_id": recording_id,
            "user_id": user_id,
            "phase": Phase.DONE,
            "place": {"$gte": FIRST_PLACE},
        }
        hidden = {"phase": Phase.PURGING, "due_at": due_at}
        if not await self._change(expected, {"$set": hidden, "$unset": {"place": ""}}):
            await self._why_not_hidden(user_id, recording_id)

    async def _why_not_hidden(self, user_id: str, recording_id: UUID) -> None:
        await self.get(user_id, recording_id)
        raise PerformanceInterrupted("The recording is still being filed.")

    async def forget(self, recording_id: UUID, until: datetime) -> None:
        expected = {"_id": recording_id, "phase": Phase.PURGING}
        gone = {"phase": Phase.DONE, "expires_at": until}
        await self._change(expected, {"$set": gone, "$unset": {"due_at": "", "recording": ""}})

    async def kept(self, user_id: str) -> Usage:
        mine = {"user_id": user_id, "place": {"$gte": FIRST_PLACE, "$lt": NEWEST_PLACE}}
        size = {"_id": None, "recordings": {"$sum": 1}, "size_bytes": {"$sum": "$recording.size_bytes"}}
        with reached():
            found = await self._performances.aggregate([{"$match": mine}, {"$group": size}])
            for total in await found.to_list(1):
                return Usage(total["recordings"], total["size_bytes"])
        return Usage(0, 0)

    async def with_audio(self, ids: Sequence[UUID]) -> set[UUID]:
        asked = {"_id": {"$in": list(ids)}}
        with reached():
            found = self._performances.find(asked, {"phase": 1, "recording.size_bytes": 1})
            return {
                document["_id"]
                async for document in found
                if document["phase"] != Phase.DONE or "recording" in document
            }

    async def take_turn(self, work: str, now: datetime, until: datetime) -> bool:
        free = {"_id": work, "until": {"$lte": now}}
        with reached():
            try:
                await self._turns.update_one(free, {"$set": {"until": until}}, upsert=True)
            except DuplicateKeyError:
                return False
        return True

    async def _change(self, expected: dict[str, Any], update: dict[str, Any]) -> bool:
        """Whether it was as expected, and is changed now."""
        with reached():
            done = await self._performances.update_one(expected, update)
        return done.matched_count == 1


def reached() -> AbstractContextManager[None]:
    return database.reached(StorageUnavailable("The database cannot be reached right now."))
