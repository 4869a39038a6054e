"""Signing keys, numbered: the number is the `_id`, so that each generation is made once."""

from datetime import datetime

from services.auth.domain.signing_keys import KeyTerm
from services.auth.mongo.collection import Collection, Document
from services.auth.ports import SealedKey


class MongoKeys:
    def __init__(self, keys: Collection) -> None:
        self._keys = keys

    async def all(self) -> list[SealedKey]:
        """Oldest first."""
        # Rotated a few times a year, and dropped when they end: 100 is no limit that is ever met.
        found = await self._keys.find({"_id": {"$gte": 1}}, limit=100, sort=[("_id", 1)])
        return [_key(each) for each in found]

    async def add(self, key: SealedKey) -> bool:
        """False when this generation was made by another process."""
        return await self._keys.insert_unless_there(
            {
                "_id": key.term.generation,
                "kid": key.term.kid,
                "sealed": key.sealed,
                "signs_from": key.term.signs_from,
            }
        )

    async def keep_until(self, generation: int, moment: datetime) -> None:
        await self._keys.update({"_id": generation}, {"$max": {"needed_until": moment}})

    async def drop(self, generation: int) -> None:
        await self._keys.delete({"_id": generation})


def _key(found: Document) -> SealedKey:
    term = KeyTerm(found["_id"], found["kid"], found["signs_from"], found.get("needed_until"))
    return SealedKey(term, bytes(found["sealed"]))
