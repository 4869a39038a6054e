"""Voices in MongoDB: one document a user, changed only by conditional updates of that one document."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import structlog
from pymongo import AsyncMongoClient
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


def client(url: str, connections: int, seconds: float) -> AsyncMongoClient[Document]:
    return AsyncMongoClient(
        url,
        tz_aware=True,
        uuidRepresentation="standard",
        maxPoolSize=connections,
        timeoutMS=round(seconds * 1000),
        serverSelectionTimeoutMS=round(seconds * 1000),
    )


class MongoVoices:
    def __init__(self, voices: AsyncCollection[Document], connections: int) -> None:
        self._voices = voices
        # The driver's own pool serves those who wait in no order, and some never.
        self._turns = asyncio.Semaphore(connections)

    async def prepare(self) -> None:
        async with self._reached():
            await self._voices.create_index("sweep_at", name=_SWEEP_INDEX, sparse=True)

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


# Fields that a document has only sometimes; what is absent in the value is removed from it.
_SOMETIMES: Final = frozenset({"sample", "clone", "attempt", "leftovers", "changed_at", "sweep_at"})


def _fields(voice: Voice) -> Document:
    fields: Document = {
        "revision": voice.revision,
        "fence": voice.fence,
        "sample": voice.sample and _sample_fields(voice.sample),
        "clone": voice.clone and _clone_fields(voice.clone),
        "attempt": voice.attempt
        and {
            "attempt_id": voice.attempt.attempt_id,
            "provider": voice.attempt.provider,
            "expires_at": voice.attempt.expires_at,
        },
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
    }


def _leftover_fields(left: Leftover) -> Document:
    return {
        "blobs": list(left.blobs),
        "provider": left.provider,
        "engine_voice_id": left.engine_voice_id,
        "until": left.until,
    }


def _blob_fields(blob: SealedBlob) -> Document:
    return {"name": blob.name, "key_id": blob.key_id}


def _voice(found: Document) -> Voice:
    return Voice(
        user_id=found["_id"],
        revision=found["revision"],
        fence=found["fence"],
        sample=_sample(found["sample"]) if "sample" in found else None,
        clone=_clone(found["clone"]) if "clone" in found else None,
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
    )


def _attempt(found: Document) -> Attempt:
    return Attempt(found["attempt_id"], found["provider"], found["expires_at"])


def _leftover(found: Document) -> Leftover:
    return Leftover(tuple(found["blobs"]), found["provider"], found["engine_voice_id"], found["until"])


def _blob(found: Document) -> SealedBlob:
    return SealedBlob(found["name"], found["key_id"])
