"""What we ask a document database, held against what MongoDB 7 and 8 and the embedded servers do alike.

Every command of this process is looked at before it is sent. A test in which one is outside the list fails:
either the code finds another way, or the list grows by something that was read up and tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from pymongo import monitoring

# The fields of a command beside those that the driver adds to each.
_COMMANDS: Final[Mapping[str, frozenset[str]]] = {
    "find": frozenset({"find", "filter", "projection", "sort", "limit", "batchSize", "singleBatch"}),
    "getMore": frozenset({"getMore", "collection", "batchSize"}),
    "killCursors": frozenset({"killCursors", "cursors"}),
    "insert": frozenset({"insert", "documents", "ordered"}),
    "update": frozenset({"update", "updates", "ordered"}),
    "delete": frozenset({"delete", "deletes", "ordered"}),
    "aggregate": frozenset({"aggregate", "pipeline", "cursor"}),
    "createIndexes": frozenset({"createIndexes", "indexes"}),
    "listIndexes": frozenset({"listIndexes", "cursor"}),
    "dropIndexes": frozenset({"dropIndexes", "index"}),
    "ping": frozenset({"ping"}),
    "endSessions": frozenset({"endSessions"}),
    # Tests, `doctor` and `backup` alone.
    "create": frozenset({"create"}),
    "drop": frozenset({"drop", "comment"}),
    "dropDatabase": frozenset({"dropDatabase", "comment"}),
    "listCollections": frozenset({"listCollections", "cursor", "filter", "nameOnly"}),
    "listDatabases": frozenset({"listDatabases", "nameOnly", "filter"}),
    "buildInfo": frozenset({"buildInfo"}),
    "hello": frozenset({"hello"}),
}
_OF_THE_DRIVER: Final = frozenset(
    {"$db", "lsid", "$readPreference", "$clusterTime", "txnNumber", "writeConcern"}
)
_UPDATES: Final = frozenset({"q", "u", "multi", "upsert"})
_DELETES: Final = frozenset({"q", "limit"})
_QUERIES: Final = frozenset(
    {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$or", "$and", "$not", "$type"}
)
_CHANGES: Final = frozenset({"$set", "$unset", "$inc", "$min", "$max", "$push", "$pull", "$setOnInsert"})
_OF_A_PUSH: Final = frozenset({"$each", "$slice"})
_STAGES: Final = frozenset({"$match", "$group", "$limit", "$skip"})
_SUMS: Final = frozenset({"$sum"})
_INDEXES: Final = frozenset(
    {"key", "name", "unique", "sparse", "expireAfterSeconds", "partialFilterExpression"}
)
_LARGEST_DOCUMENT_BYTES: Final = 1 << 20


def objections(name: str, command: Mapping[str, Any]) -> Iterator[str]:
    """What is not on the list; nothing for a command that is."""
    if name not in _COMMANDS:
        yield f"the command {name}"
        return
    yield from (f"{name} with {word}" for word in command.keys() - _COMMANDS[name] - _OF_THE_DRIVER)
    concern = command.get("writeConcern", {})
    if concern and (concern.get("w") != "majority" or concern.get("j") is not True):
        yield f"{name} with the write concern {dict(concern)}"
    yield from _query(command.get("filter", {}))
    for document in command.get("documents", ()):
        yield from _document(document)
    for update in command.get("updates", ()):
        yield from _change(update)
    for delete in command.get("deletes", ()):
        yield from (f"a deletion with {word}" for word in delete.keys() - _DELETES)
        yield from _query(delete["q"])
    for index in command.get("indexes", ()):
        yield from _index(index)
    if name == "aggregate":
        yield from _pipeline(command["pipeline"])


def _query(query: Mapping[str, Any]) -> Iterator[str]:
    for word, value in query.items():
        if word.startswith("$") and word not in _QUERIES:
            yield f"the query operator {word}"
        if word in {"$in", "$nin"} and any(_is_expression(each) for each in value):
            yield f"{word} with expressions"
        if isinstance(value, Mapping):
            yield from _query(value)
        elif word in {"$or", "$and"}:
            for each in value:
                yield from _query(each)


def _is_expression(value: Any) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "pattern")


def _change(update: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"an update with {word}" for word in update.keys() - _UPDATES)
    yield from _query(update["q"])
    change = update["u"]
    if not isinstance(change, Mapping):
        yield "an update that is a pipeline"
        return
    if not any(word.startswith("$") for word in change):
        yield from _document(change)
        return
    yield from (f"the update operator {word}" for word in change.keys() - _CHANGES)
    yield from _conflicts([path for fields in change.values() for path in fields])
    if update.get("upsert"):
        yield from _upserts(update["q"])
    for word, fields in change.items():
        yield from (f"{word} of {path}" for path in fields if "$" in path or path == "_id")
        for value in fields.values():
            if word == "$push" and isinstance(value, Mapping):
                yield from (
                    f"$push with {each}" for each in value if each[0] == "$" and each not in _OF_A_PUSH
                )
            elif word in {"$set", "$setOnInsert"}:
                yield from _names(value)


def _conflicts(paths: Sequence[str]) -> Iterator[str]:
    """MongoDB refuses an update that changes a path twice, or a path and one below it."""
    ordered = sorted(path + "." for path in paths)
    for one, next_one in pairwise(ordered):
        if next_one.startswith(one):
            yield f"an update of {one[:-1]} and of {next_one[:-1]}"


def _upserts(query: Mapping[str, Any]) -> Iterator[str]:
    """Without an equality for `_id`, two callers at once make two documents."""
    if "_id" not in query or isinstance(query["_id"], Mapping):
        yield "an upsert that names no _id"


def _document(document: Mapping[str, Any]) -> Iterator[str]:
    raw = getattr(document, "raw", None)
    if raw is not None:
        # What `restore` brings back byte for byte.
        return
    yield from _names(document)
    if _bytes_of(document) > _LARGEST_DOCUMENT_BYTES:
        yield "a document of more than 1 MiB"


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str) or name.startswith("$") or "." in name or "\0" in name:
                yield f"a field called {name!r}"
            yield from _names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names(inner)


def _bytes_of(value: Any) -> int:
    """About; what matters is whether audio is in it."""
    if isinstance(value, Mapping):
        return sum(_bytes_of(each) for each in value.values())
    if isinstance(value, list | tuple):
        return sum(_bytes_of(each) for each in value)
    return len(value) if isinstance(value, bytes | str) else 8


def _index(index: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"an index with {word}" for word in index.keys() - _INDEXES)
    yield from (
        f"an index by {direction!r}" for direction in index["key"].values() if direction not in {1, -1}
    )
    if len(index["key"]) > 1 and "expireAfterSeconds" in index:
        yield "a TTL index of several fields"
    if index.get("sparse") and "partialFilterExpression" in index:
        yield "an index that is sparse and partial"
    for value in index.get("partialFilterExpression", {}).values():
        if isinstance(value, Mapping):
            yield f"a partial index by {dict(value)}"


def _pipeline(pipeline: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not pipeline or "$match" not in pipeline[0]:
        yield "an aggregation that does not begin with $match"
    for stage in pipeline:
        (word,) = stage
        if word not in _STAGES:
            yield f"the stage {word}"
        elif word == "$match":
            yield from _query(stage[word])
        elif word == "$group":
            sums = [each for each in stage[word].values() if isinstance(each, Mapping)]
            yield from (f"the accumulator {name}" for each in sums for name in each if name not in _SUMS)


class Guard(monitoring.CommandListener):
    """Collects objections; whoever looks takes them away."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self.looked_at = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.looked_at += 1
        # Of one's own accord the driver asks these as well, also in a session that ends.
        self._found += (
            f"{each} ({event.database_name})" for each in objections(event.command_name, event.command)
        )

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    def take(self) -> list[str]:
        found, self._found = self._found, []
        return found
