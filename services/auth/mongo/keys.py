"""Signing keys, numbered: the number is the `_id`, so that each generation is made once."""

from services.auth.mongo.collection import Collection
from services.auth.ports import SealedKey


class MongoKeys:
    def __init__(self, keys: Collection) -> None:
        self._keys = keys

    async def all(self) -> list[SealedKey]:
        """Oldest first."""
        # Rotated a few times a year: 100 is no limit that is ever met.
        found = await self._keys.find({"_id": {"$gte": 1}}, limit=100, sort=[("_id", 1)])
        return [
            SealedKey(each["_id"], each["kid"], bytes(each["sealed"]), each["signs_from"]) for each in found
        ]

    async def add(self, key: SealedKey) -> bool:
        """False when this generation was made by another process."""
        return await self._keys.insert_unless_there(
            {"_id": key.generation, "kid": key.kid, "sealed": key.sealed, "signs_from": key.signs_from}
        )
