"""The embedded servers behave as the rest of the suite assumes."""

from pymongo import AsyncMongoClient
from redis.asyncio import Redis


async def test_the_document_database_keeps_what_was_written(mongo_url: str) -> None:
    async with AsyncMongoClient[dict[str, object]](mongo_url) as client:
        await client["embedded"]["notes"].insert_one({"_id": "a", "text": "kept"})
        assert await client["embedded"]["notes"].find_one({"_id": "a"}) == {"_id": "a", "text": "kept"}


async def test_the_cache_keeps_what_was_written(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as cache:
        await cache.set("embedded:a", "kept")
        assert await cache.get("embedded:a") == b"kept"
