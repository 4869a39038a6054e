"""Voices in MongoDB: one document a user, changed only by conditional updates of that one document."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from services.kernel import database
from services.voice.domain import (
    Attempt,
    Bookmark,
    Clone,
    Consent,
    Leftover,
    Sample,
    SealedBlob,
    Voice,
    VoiceStoreUnavailable,
)

Document = dict[str, Any]
_SWEEP_INDEX: Final = "voices_to_sweep"
_HELD_INDEX: Final = "voices_at_provider"
# A query must say it as well, to be answered from the index that holds only these.
_IN_POOL: Final[Document] = {"clone.in_pool": True}
_CLONES: Final = ("clone", "standby")
_SEALED: Final = ("sample.audio", "clone.profile", "standby.profile")
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Also how far ahead the clock of another process may be.
_DAY: Final = timedelta(days=1)
_MONTH: Final = timedelta(days=30)


class MongoVoices:
    def __init__(self, voices: AsyncCollection[Document]) -> None:
        self._voices = voices

    async def prepare(self) -> None:
        with reached():
            await self._voices.create_index("sweep_at", name=_SWEEP_INDEX, sparse=True)
            await self._voices.create_index(
                "clone.provider", name=_HELD_INDEX, partialFilterExpression=_IN_POOL
            )
            for field in _CLONES:
                await self._voices.create_index(f"{field}.clone_id", name=f"voices_by_{field}", sparse=True)
                newest = f"voices_by_newest_{field}"
                await self._voices.create_index(_newest_first(field), name=newest, sparse=True)

    async def get(self, user_id: str) -> Voice:
        with reached():
            found = await self._voices.find_one({"_id": user_id})
        return _voice(found) if found else Voice(user_id)

    async def replace(self, seen: Voice, made: Voice) -> bool:
        unchanged = {"_id": seen.user_id, "revision": seen.revision}
        with reached():
            if made.empty:
                return (await self._voices.delete_one(unchanged)).deleted_count == 1
            if not seen.revision:
                return await self._insert(made)
            fields = _fields(made)
            absent = dict.fromkeys(_SOMETIMES - fields.keys(), "")
            change = {"$set": fields} | ({"$unset": absent} if absent else {})
            return (await self._voices.update_one(unchanged, change)).modified_count == 1

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        with reached():
            found = await self._voices.find({"sweep_at": {"$lt": now}}).limit(limit).to_list(limit)
        return [_voice(document) for document in found]

    async def of(self, user_ids: Collection[str]) -> Sequence[Voice]:
        return await self._found({"_id": {"$in": list(user_ids)}})

    async def held_at(self, provider: str) -> Sequence[Voice]:
        return await self._found({"clone.provider": provider, **_IN_POOL})

    async def with_clone(self, clone_id: str) -> Voice | None:
        for field in _CLONES:
            if found := await self._found({f"{field}.clone_id": clone_id}):
                return found[0]
        return None

    async def clones_before(self, bookmark: Bookmark | None, limit: int) -> Sequence[tuple[Voice, Clone]]:
        """In ranges that grow until one holds enough: some servers read a range to its end for its first."""
        bookmark = bookmark or Bookmark(datetime.now(UTC) + _DAY, "")
        found: list[tuple[Voice, Clone]] = []
        for oldest in (bookmark.made_at - _DAY, bookmark.made_at - _MONTH, _FIRST):
            found = []
            for field in _CLONES:
                found += await self._clones_between(field, oldest, bookmark, limit)
            if len(found) >= limit:
                break
        return sorted(found, key=lambda each: Bookmark.at(each[1]), reverse=True)[:limit]

    async def _clones_between(
        self, field: str, oldest: datetime, bookmark: Bookmark, limit: int
    ) -> list[tuple[Voice, Clone]]:
        found: list[tuple[Voice, Clone]] = []
        while True:
            documents = await self._read_between(field, oldest, bookmark, limit)
            clones = [(_voice(document), _clone(document[field])) for document in documents]
            # One standing by may have the id of one at a provider that came after all: told once, as that.
            found += [each for each in clones if field == "clone" or not _has(*each)]
            if len(clones) < limit or len(found) >= limit:
                return found
            bookmark = Bookmark.at(clones[-1][1])

    async def _read_between(
        self, field: str, oldest: datetime, bookmark: Bookmark, limit: int
    ) -> list[Document]:
        made_at, clone_id = f"{field}.made_at", f"{field}.clone_id"
        condition = {
            made_at: {"$gte": oldest, "$lte": bookmark.made_at},
            "$or": [{made_at: {"$lt": bookmark.made_at}}, {clone_id: {"$lt": bookmark.clone_id}}],
        }
        with reached():
            return await self._voices.find(condition).sort(_newest_first(field)).limit(limit).to_list(limit)

    async def _found(self, condition: Document) -> list[Voice]:
        with reached():
            return [_voice(document) async for document in self._voices.find(condition)]

    async def sealed_otherwise(self, key_id: str, after: str, limit: int) -> Sequence[Voice]:
        otherwise = [{f"{place}.key_id": {"$nin": [key_id, None]}} for place in _SEALED]
        condition: Document = {"_id": {"$gt": after}, "$or": otherwise}
        with reached():
            found = await self._voices.find(condition).sort("_id", 1).limit(limit).to_list(limit)
        return [_voice(document) for document in found]

    async def _insert(self, made: Voice) -> bool:
        try:
            await self._voices.insert_one({"_id": made.user_id, **_fields(made)})
        except DuplicateKeyError:
            return False
        return True


def reached() -> AbstractContextManager[None]:
    return database.reached(VoiceStoreUnavailable("Voices cannot be read or stored right now."))


def _has(voice: Voice, clone: Clone) -> bool:
    return voice.clone is not None and voice.clone.clone_id == clone.clone_id


def _newest_first(field: str) -> list[tuple[str, int]]:
    return [(f"{field}.made_at", DESCENDING), (f"{field}.clone_id", DESCENDING)]


# Fields that a document has only sometimes; what is absent in the value is removed from it.
_SOMETIMES: Final = frozenset(
    {"sample", "clone", "standby", "attempt", "leftovers", "changed_at", "sweep_at"}
)


def _fields(voice: Voice) -> Document:
    fields: Document = {
        "revision": voice.revision,
        "fence": voice.fence,
        "sample": voice.sample and _sample_fields(voice.sample),
        "clone": voice.clone and _clone_fields(voice.clone),
        "standby": voice.standby and _clone_fields(voice.standby),
        "attempt": voice.attempt and _attempt_fields(voice.attempt),
        "leftovers": [_leftover_fields(left) for left in voice.leftovers],
        "changed_at": voice.changed_at,
        "sweep_at": voice.sweep_at,
    }
    return {name: value for name, value in fields.items() if value or name not in _SOMETIMES}


def _sample_fields(sample: Sample) -> Document:
    return {
        "hash": sample.hash,
        "seconds": sample.seconds,
        "size_bytes": sample.size_bytes,
        "transcoded": sample.transcoded,
        "audio": _blob_fields(sample.audio),
        "consent": {
            "statement": sample.consent.statement,
            "given_at": sample.consent.given_at,
            "client": sample.consent.client,
        },
    }


def _clone_fields(clone: Clone) -> Document:
    return {
        "clone_id": clone.clone_id,
        "provider": clone.provider,
        "engine": clone.engine,
        "engine_voice_id": clone.engine_voice_id,
        "voice_source": clone.voice_source,
        "in_pool": clone.in_pool,
        "profile": clone.profile and _blob_fields(clone.profile),
        "made_at": clone.made_at,
        "leaving_until": clone.leaving_until,
    }


def _attempt_fields(attempt: Attempt) -> Document:
    return {
        "attempt_id": attempt.attempt_id,
        "provider": attempt.provider,
        "expires_at": attempt.expires_at,
        "sample_hash": attempt.sample_hash,
    }


def _leftover_fields(left: Leftover) -> Document:
    return {
        "blobs": list(left.blobs),
        "provider": left.provider,
        "engine_voice_id": left.engine_voice_id,
        "until": left.until,
        "attempt_id": left.attempt_id,
        "not_before": left.not_before,
    }


def _blob_fields(blob: SealedBlob) -> Document:
    return {"name": blob.name, "key_id": blob.key_id}


def _voice(found: Document) -> Voice:
    """Documents of earlier releases lack what was added since."""
    return Voice(
        user_id=found["_id"],
        revision=found["revision"],
        fence=found["fence"],
        sample=_sample(found["sample"]) if "sample" in found else None,
        clone=_clone(found["clone"]) if "clone" in found else None,
        standby=_clone(found["standby"]) if "standby" in found else None,
        attempt=_attempt(found["attempt"]) if "attempt" in found else None,
        leftovers=tuple(_leftover(left) for left in found.get("leftovers", ())),
        changed_at=found.get("changed_at"),
        sweep_at=found.get("sweep_at"),
    )


def _sample(found: Document) -> Sample:
    consent = found["consent"]
    return Sample(
        hash=found["hash"],
        seconds=found["seconds"],
        size_bytes=found["size_bytes"],
        transcoded=found["transcoded"],
        audio=_blob(found["audio"]),
        consent=Consent(consent["statement"], consent["given_at"], consent["client"]),
    )


def _clone(found: Document) -> Clone:
    return Clone(
        clone_id=found["clone_id"],
        provider=found["provider"],
        engine=found["engine"],
        engine_voice_id=found["engine_voice_id"],
        voice_source=found["voice_source"],
        in_pool=found["in_pool"],
        profile=_blob(found["profile"]) if found["profile"] else None,
        made_at=found["made_at"],
        leaving_until=found.get("leaving_until"),
    )


def _attempt(found: Document) -> Attempt:
    sample_hash = found.get("sample_hash", "")
    return Attempt(found["attempt_id"], found["provider"], found["expires_at"], sample_hash)


def _leftover(found: Document) -> Leftover:
    return Leftover(
        blobs=tuple(found["blobs"]),
        provider=found["provider"],
        engine_voice_id=found["engine_voice_id"],
        until=found["until"],
        attempt_id=found.get("attempt_id", ""),
        not_before=found.get("not_before"),
    )


def _blob(found: Document) -> SealedBlob:
    return SealedBlob(found["name"], found["key_id"])
