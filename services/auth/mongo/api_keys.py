"""API keys, as SHA-256. Each takes one of its user's numbered places: a unique index keeps the limit."""

from datetime import datetime
from itertools import count

from pymongo import IndexModel

from services.auth.domain.api_keys import MOST_KEYS, ApiKey
from services.auth.domain.errors import ApiKeysExhausted
from services.auth.mongo.collection import Collection, Document


class MongoApiKeys:
    def __init__(self, keys: Collection) -> None:
        self._keys = keys

    async def prepare(self) -> None:
        await self._keys.create_indexes(
            IndexModel("digest", unique=True, name="digest"),
            IndexModel([("user_id", 1), ("place", 1)], unique=True, name="place"),
            IndexModel("expires_at", expireAfterSeconds=0, name="ended"),
        )

    async def add(self, key: ApiKey, now: datetime) -> None:
        # Each round another request was faster, and took a place.
        for _ in range(MOST_KEYS + 1):
            places = await self._places_taken(key.user_id, now)
            place = next(number for number in count() if number not in places)
            if place >= MOST_KEYS:
                break
            if await self._keys.insert_unless_there(_document(key, place)):
                return
        raise ApiKeysExhausted(f"There are {MOST_KEYS} API keys already.")

    async def _places_taken(self, user_id: str, now: datetime) -> set[int]:
        """Those of live keys; what has ended makes room at once."""
        found = await self._keys.find({"user_id": user_id}, MOST_KEYS)
        for each in found:
            if not _key(each).good_at(now):
                await self._keys.delete({"_id": each["_id"]})
        return {each["place"] for each in found if _key(each).good_at(now)}

    async def of_user(self, user_id: str, now: datetime) -> list[ApiKey]:
        keys = [_key(each) for each in await self._keys.find({"user_id": user_id}, MOST_KEYS)]
        live = [key for key in keys if key.good_at(now)]
        return sorted(live, key=lambda key: (key.created_at, key.key_id), reverse=True)

    async def get(self, key_id: str) -> ApiKey | None:
        found = await self._keys.find_one(key_id)
        return _key(found) if found else None

    async def by_digest(self, digest: str) -> ApiKey | None:
        found = await self._keys.find_by("digest", digest)
        return _key(found) if found else None

    async def note_use(self, key_id: str, now: datetime) -> None:
        await self._keys.update({"_id": key_id}, {"$set": {"last_used_at": now}})

    async def delete(self, key_id: str) -> bool:
        return await self._keys.delete({"_id": key_id})

    async def delete_all(self, user_id: str) -> None:
        for each in await self._keys.find({"user_id": user_id}, MOST_KEYS):
            await self._keys.delete({"_id": each["_id"]})


def _document(key: ApiKey, place: int) -> Document:
    return {
        "_id": key.key_id,
        "user_id": key.user_id,
        "place": place,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "shown": key.shown,
        "digest": key.digest,
        "last_used_at": key.last_used_at,
    }


def _key(found: Document) -> ApiKey:
    return ApiKey(
        key_id=found["_id"],
        user_id=found["user_id"],
        name=found["name"],
        scopes=tuple(found["scopes"]),
        created_at=found["created_at"],
        expires_at=found["expires_at"],
        shown=found["shown"],
        digest=found["digest"],
        last_used_at=found["last_used_at"],
    )
