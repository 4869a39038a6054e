"""What tests ask a document database is looked at: see tests/mongo_guard.py."""

from typing import Any

from pymongo import AsyncMongoClient

from tests.mongo_guard import Guard


async def test_this_very_process_is_watched(mongo_guard: Guard, mongo_url: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        await client["guarded"]["things"].find_one_and_update({"_id": 1}, {"$set": {"a": 1}})
    assert mongo_guard.take() == ["the command findAndModify (guarded)"]
