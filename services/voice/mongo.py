"""Voices in MongoDB: one document a user, changed only by conditional updates of that one document."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import structlog
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.voice.domain import (
    Attempt,
    Clone,
    Consent,
    Leftover,
    Sample,
    SealedBlob,
    Voice,
    VoiceStoreUnavailable,
)

log = structlog.get_logger()

Document = dict[str, Any]
_SWEEP_INDEX: Final = "voices_to_sweep"
_HELD_INDEX: Final = "voices_at_provider"
# A query must say it as well, to be answered from the index that holds only these.
_IN_POOL: Final[Document] = {"clone.in_pool": True}
_CLONES: Final = ("clone", "standby")
_SEALED: Final = ("sample.audio", "clone.profile", "standby.profile")
# Greater than every id of a clone: those are UUIDs.
_BEHIND_ALL: Final = "g"


class MongoVoices:
    def __init__(self, voices: AsyncCollection[Document], connections: int) -> None:
        self._voices = voices
        # The driver's own pool serves those who wait in no order, and some never.
        self._turns = asyncio.Semaphore(connections)

    async def prepare(self) -> None:
        async with self._reached():
            await self._voices.create_index("sweep_at", name=_SWEEP_INDEX, sparse=True)
            await self._voices.create_index(
                "clone.provider", name=_HELD_INDEX, partialFilterExpression=_IN_POOL
            )
            for field in _CLONES:
                await self._voices.create_index(f"{field}.clone_id", name=f"voices_by_{field}", sparse=True)

    async def get(self, user_id: str) -> Voice:
        async with self._reached():
            found = await self._voices.find_one({"_id": user_id})
        return _voice(found) if found else Voice(user_id)

    async def replace(self, seen: Voice, made: Voice) -> bool:
        unchanged = {"_id": seen.user_id, "revision": seen.revision}
        async with self._reached():
            if made.empty:
                return (await self._voices.delete_one(unchanged)).deleted_count == 1
            if not seen.revision:
                return await self._insert(made)
            fields = _fields(made)
            absent = dict.fromkeys(_SOMETIMES - fields.keys(), "")
            change = {"$set": fields} | ({"$unset": absent} if absent else {})
            return (await self._voices.update_one(unchanged, change)).modified_count == 1

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        async with self._reached():
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

    async def clones_after(self, clone_id: str, limit: int) -> Sequence[tuple[Voice, Clone]]:
        """In ranges that grow until one holds enough: a range without an end is read to its end by some
        servers. Ids are drawn evenly, so the first range is small enough for any number of voices."""
        found: list[tuple[Voice, Clone]] = []
        for share in (4096, 256, 16, 1):
            before = _further(clone_id, share)
            found = []
            for field in _CLONES:
                found += await self._clones_between(field, clone_id, before, limit)
            if len(found) >= limit or before == _BEHIND_ALL:
                break
        return sorted(found, key=lambda each: each[1].clone_id)[:limit]

    async def _clones_between(
        self, field: str, after: str, before: str, limit: int
    ) -> list[tuple[Voice, Clone]]:
        name = f"{field}.clone_id"
        async with self._reached():
            cursor = self._voices.find({name: {"$gt": after, "$lt": before}}).sort(name, 1).limit(limit)
            documents = await cursor.to_list(limit)
        found = [(_voice(document), _clone(document[field])) for document in documents]
        # A clone standing by may have the id of one at a provider that came after all: told once, as that.
        return [(voice, clone) for voice, clone in found if field == "clone" or not _has(voice, clone)]

    async def _found(self, condition: Document) -> list[Voice]:
        async with self._reached():
            return [_voice(document) async for document in self._voices.find(condition)]

    async def sealed_otherwise(self, key_id: str, after: str, limit: int) -> Sequence[Voice]:
        otherwise = [{f"{place}.key_id": {"$nin": [key_id, None]}} for place in _SEALED]
        condition: Document = {"_id": {"$gt": after}, "$or": otherwise}
        async with self._reached():
            found = await self._voices.find(condition).sort("_id", 1).limit(limit).to_list(limit)
        return [_voice(document) for document in found]

    async def _insert(self, made: Voice) -> bool:
        try:
            await self._voices.insert_one({"_id": made.user_id, **_fields(made)})
        except DuplicateKeyError:
            return False
        return True

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        try:
            async with self._turns:
                yield
        except PyMongoError as error:
            log.warning("voice_store_failed", cause=type(error).__name__)
            raise VoiceStoreUnavailable("Voices cannot be read or stored right now.") from error


def _has(voice: Voice, clone: Clone) -> bool:
    return voice.clone is not None and voice.clone.clone_id == clone.clone_id


def _further(clone_id: str, share: int) -> str:
    """An id that is one part in `share` of all ids further on."""
    number = int(clone_id[:4] or "0", 16) + 0x10000 // share
    return f"{number:04x}" if number < 0x10000 else _BEHIND_ALL


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
