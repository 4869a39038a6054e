"""The embedded servers behave as the rest of the suite assumes."""

from pathlib import Path
from time import monotonic

from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from dev import embedded
from dev.ports import free_port
from dev.process import Process
from dev.project import ROOT


async def test_the_document_database_keeps_what_was_written(mongo_url: str) -> None:
    async with AsyncMongoClient[dict[str, object]](mongo_url) as client:
        await client["embedded"]["notes"].insert_one({"_id": "a", "text": "kept"})
        assert await client["embedded"]["notes"].find_one({"_id": "a"}) == {"_id": "a", "text": "kept"}


async def test_a_document_database_that_nobody_talks_to_stops_at_once(tmp_path: Path) -> None:
    server = await Process.start(embedded.mongo(free_port(), tmp_path), tmp_path, ROOT)
    began = monotonic()
    await server.stop()
    assert server.ended.result() == 0
    # By itself it waits two seconds for the thread that waits for callers.
    assert monotonic() - began < 1


async def test_the_cache_keeps_what_was_written(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as cache:
        await cache.set("embedded:a", "kept")
        assert await cache.get("embedded:a") == b"kept"
