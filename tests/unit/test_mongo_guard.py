"""The guard lets through what all servers do alike, and nothing else."""

from typing import Any

import pytest

from tests.mongo_guard import objections

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("find", {"find": "users", "filter": {"a": {"$gte": 1, "$lt": 2}, "$or": [{"b": None}]}, "limit": 3}),
    ("update", {"updates": [{"q": {"_id": 1}, "u": {"$set": {"a": 1}, "$inc": {"b": 1}}, "upsert": True}]}),
    ("update", {"updates": [{"q": {}, "u": {"$push": {"a": {"$each": [1], "$slice": -3}}}}]}),
    ("createIndexes", {"indexes": [{"key": {"a": 1, "b": -1}, "name": "x", "unique": True}]}),
    (
        "aggregate",
        {"pipeline": [{"$match": {"a": 1}}, {"$group": {"_id": None, "n": {"$sum": 1}}}], "cursor": {}},
    ),
    ("insert", {"insert": "a", "documents": [{"a": 1}], "writeConcern": {"w": "majority", "j": True}}),
]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("findAndModify", {}, "the command findAndModify"),
    ("find", {"collation": {"locale": "en"}}, "find with collation"),
    ("find", {"filter": {"a": {"$regex": "^b"}}}, "the query operator $regex"),
    ("find", {"filter": {"$or": [{"a": {"$elemMatch": {"b": 1}}}]}}, "the query operator $elemMatch"),
    ("update", {"updates": [{"q": {}, "u": [{"$set": {"a": 1}}]}]}, "an update that is a pipeline"),
    ("update", {"updates": [{"q": {}, "u": {"$rename": {"a": "b"}}}]}, "the update operator $rename"),
    (
        "update",
        {"updates": [{"q": {}, "u": {"$set": {"a.b": 1}, "$unset": {"a": ""}}}]},
        "an update of a and of a.b",
    ),
    ("update", {"updates": [{"q": {}, "u": {"$set": {"a.$.b": 1}}}]}, "$set of a.$.b"),
    (
        "update",
        {"updates": [{"q": {"a": 1}, "u": {"$set": {"b": 1}}, "upsert": True}]},
        "an upsert that names no _id",
    ),
    (
        "update",
        {"updates": [{"q": {}, "u": {"$set": {"a": 1}}, "arrayFilters": []}]},
        "an update with arrayFilters",
    ),
    ("insert", {"documents": [{"a": {"b.c": 1}}]}, "a field called 'b.c'"),
    ("insert", {"documents": [{"audio": bytes(2 << 20)}]}, "a document of more than 1 MiB"),
    ("insert", {"insert": "a", "writeConcern": {"w": 1}}, "insert with the write concern {'w': 1}"),
    ("createIndexes", {"indexes": [{"key": {"a": "text"}}]}, "an index by 'text'"),
    ("createIndexes", {"indexes": [{"key": {"a": 1}, "collation": {}}]}, "an index with collation"),
    ("aggregate", {"pipeline": [{"$group": {"_id": 1}}]}, "an aggregation that does not begin with $match"),
    ("aggregate", {"pipeline": [{"$match": {}}, {"$lookup": {}}]}, "the stage $lookup"),
]


@pytest.mark.parametrize(("name", "command"), GOOD)
def test_what_all_servers_do_alike_passes(name: str, command: dict[str, Any]) -> None:
    assert list(objections(name, command)) == []


@pytest.mark.parametrize(("name", "command", "objection"), BAD)
def test_everything_else_is_named(name: str, command: dict[str, Any], objection: str) -> None:
    assert objection in list(objections(name, command))
