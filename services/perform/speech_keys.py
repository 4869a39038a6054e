"""Idempotency-Keys of speech in MongoDB: which were used, and for which request.

What is written down is two digests, the id of a speech that nothing else knows, and an end: nobody can
read from them who asked, under which key, or for which words, and they are gone after a day by themselves.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from services.perform.mongo import reached
from services.perform.speech import HeldKey, KeyClaim, Spoken


class MongoSpeechKeys:
    """Implements SpeechKeys."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str) -> None:
        self._keys: AsyncCollection[dict[str, Any]] = client[database]["speech_keys"]

    async def prepare(self) -> None:
        with reached():
            await self._keys.create_index([("expires_at", ASCENDING)], expireAfterSeconds=0)
            await self._keys.create_index([("speech_id", ASCENDING)])

    async def claim(self, claim: KeyClaim, now: datetime, until: datetime) -> HeldKey | None:
        fresh = {
            "_id": _id(claim),
            "request": _request(claim),
            "speech_id": claim.speech_id,
            "expires_at": until,
        }
        with reached():
            while True:
                try:
                    await self._keys.insert_one(dict(fresh))
                    return None
                except DuplicateKeyError:
                    held = await self._keys.find_one({"_id": fresh["_id"]})
                if held is None:
                    continue
                if held["expires_at"] > now:
                    return HeldKey(held["speech_id"], held["request"] == fresh["request"], _spoken(held))
                # The database removes what has expired only now and then.
                await self._keys.delete_one({"_id": held["_id"], "expires_at": held["expires_at"]})

    async def spend(self, claim: KeyClaim, spoken: Spoken, until: datetime) -> bool:
        with reached():
            spent = {"spoken": asdict(spoken), "expires_at": until}
            return (await self._keys.update_one(_ours(claim), {"$set": spent})).matched_count == 1

    async def free(self, claim: KeyClaim) -> None:
        with reached():
            await self._keys.delete_one(_ours(claim))

    async def with_audio(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        with reached():
            found = self._keys.find({"speech_id": {"$in": list(ids)}}, {"speech_id": 1})
            return frozenset([each["speech_id"] async for each in found])


def _spoken(held: dict[str, Any]) -> Spoken | None:
    spoken = held.get("spoken")
    # The first releases kept no audio, and said only that it had been spoken.
    return Spoken(spoken["voice_source"], spoken["credits"]) if isinstance(spoken, dict) else None


def _id(claim: KeyClaim) -> str:
    return _digest(claim.user_id, claim.key)


def _ours(claim: KeyClaim) -> dict[str, Any]:
    """Not what somebody else claimed after ours had expired."""
    return {"_id": _id(claim), "speech_id": claim.speech_id}


def _request(claim: KeyClaim) -> str:
    """With user and key in it: the digest of a short text alone could be guessed."""
    return _digest(claim.user_id, claim.key, claim.fingerprint)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
