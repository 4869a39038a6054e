"""Databases, caches and blob stores: asked, written to where that leaves no trace, never changed."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dev.doctor.clock import judged
from dev.doctor.findings import Finding, failed, ok, warning
from dev.doctor.form import check_form
from dev.doctor.indexes import EXPECTED
from services.kernel.stores import patience

_SECONDS: Final = 5
_OLDEST_MONGO: Final = (7, 0)
_OLDEST_VALKEY: Final = (7, 0)
_UNAUTHORISED: Final = {13, 18}


async def check_database(url: str, databases: Mapping[str, str]) -> Sequence[Finding]:
    """One server, and in it the database of each service that uses it."""
    what = f"database ({', '.join(databases)})"
    variables = " and ".join(f"{service.upper()}_MONGO_URL" for service in databases)
    try:
        async with _mongo(url) as client:
            asked = datetime.now(UTC)
            hello = await client.admin.command("hello")
            took = datetime.now(UTC) - asked
            built = await client.admin.command("buildInfo")
            found = [
                _answers(what, built, hello),
                _write_concern(what, client.write_concern.document, variables),
                judged("clock (database)", asked + took / 2, hello["localTime"].replace(tzinfo=UTC)),
            ]
            for service, name in databases.items():
                found += [await check_form(service, client[name]), await _indexes(service, client[name])]
            return found
    except OperationFailure as error:
        if error.code in _UNAUTHORISED:
            return [failed(what, "it refuses our user", f"correct user and password in {variables}")]
        return [failed(what, f"it answers with {error.code} {type(error).__name__}", "read the server's log")]
    except PyMongoError as error:
        fix = f"start it, or correct host and port in {variables}"
        return [failed(what, f"it does not answer ({type(error).__name__})", fix)]


def _mongo(url: str) -> AsyncMongoClient[dict[str, Any]]:
    milliseconds = _SECONDS * 1000
    return AsyncMongoClient(url, serverSelectionTimeoutMS=milliseconds, timeoutMS=milliseconds)


def _answers(what: str, built: Mapping[str, Any], hello: Mapping[str, Any]) -> Finding:
    version = str(built["version"])
    if tuple(built["versionArray"][:2]) < _OLDEST_MONGO:
        return warning(what, f"version {version} is older than what is tested", "run MongoDB 7 or 8")
    if hello.get("msg") == "isdbgrid":
        return ok(what, f"version {version} answers, a sharded cluster")
    if "setName" not in hello:
        said = f"version {version} stands alone: its disk is the only copy"
        return warning(what, said, "run it as a replica set of three")
    return ok(what, f"version {version} answers, replica set {hello['setName']}")


def _write_concern(what: str, concern: Mapping[str, Any], variables: str) -> Finding:
    """An acknowledged write must be on disk, or performances are paid for and lost."""
    fix = f"add w=majority&journal=true to {variables}"
    if concern.get("j") is False or concern.get("w", "majority") in {0, 1}:
        return failed(what, "a crash may lose writes that it has acknowledged", fix)
    if not concern.get("j"):
        return warning(what, "whether acknowledged writes are on disk is left to the server", fix)
    return ok(what, "acknowledged writes are on disk (w=majority, journal)")


async def _indexes(service: str, database: Any) -> Finding:
    what = f"indexes ({service})"
    there = set(await database.list_collection_names())
    expected = EXPECTED[service]
    if there.isdisjoint(expected):
        return warning(what, "the database is empty", f"start {service} once: it makes what it needs")
    missing = [
        f"{collection}.{name}"
        for collection, names in expected.items()
        for name in sorted(names - (await _names(database[collection]) if collection in there else set()))
    ]
    if missing:
        fix = f"run `newvisions migrate --again {service}`; with much data, at a quiet hour"
        return failed(what, f"missing: {', '.join(missing)}", fix)
    return ok(what, f"all {sum(map(len, expected.values()))} are there")


async def _names(collection: Any) -> set[str]:
    return {str(index["name"]) async for index in await collection.list_indexes()}


async def check_cache(url: str, services: Sequence[str]) -> Sequence[Finding]:
    what = f"cache ({', '.join(services)})"
    variables = " and ".join(f"{service.upper()}_VALKEY_URL" for service in services)
    client = Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)
    try:
        async with client:
            await client.ping()
            server, disk = await client.info("server"), await client.info("persistence")
    except (RedisError, OSError) as error:
        fix = f"start it, or correct {variables}"
        return [failed(what, f"it does not answer ({type(error).__name__})", fix)]
    version = str(server.get("valkey_version") or server["redis_version"])
    if tuple(map(int, version.split(".")[:2])) < _OLDEST_VALKEY:
        return [failed(what, f"version {version} is too old", "run Valkey 8 or later, or Redis 7")]
    if not disk.get("aof_enabled"):
        said = f"version {version} answers, but forgets everything when it stops"
        return [warning(what, said, "start it with --appendonly yes")]
    return [ok(what, f"version {version} answers, appendonly is on")]


async def check_blobs(service: str, url: str) -> Sequence[Finding]:
    """Writes, reads and removes one small object under a name that nobody else uses."""
    what, variable = f"blob store ({service})", f"{service.upper()}_BLOB_URL"
    name, content = f"doctor/{uuid4()}", uuid4().bytes
    started = time.monotonic()
    try:
        # In a thread of ours: the store's own threads abort a process that ends while they report.
        same = await asyncio.to_thread(_probed, _blobs(url), name, content)
    except (BaseError, OSError, ValueError) as error:
        fix = f"correct {variable}, or give us room and the right to write, read and delete there"
        return [failed(what, f"it cannot be written, read and cleared: {_first_line(error)}", fix)]
    if not same:
        return [failed(what, "what was read is not what was written", "do not use this store")]
    return [ok(what, f"written, read and cleared in {(time.monotonic() - started) * 1000:.0f} ms")]


def _probed(store: Any, name: str, content: bytes) -> bool:
    try:
        obstore.put(store, name, content)
        return bytes(obstore.get(store, name).bytes()) == content
    finally:
        with suppress(FileNotFoundError):
            obstore.delete(store, name)


def _blobs(url: str) -> Any:
    if url.startswith("file:"):
        return from_url(url, mkdir=True, automatic_cleanup=True)
    return from_url(url, **patience(url, _SECONDS))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} {lines[0][:160]}" if lines else type(error).__name__
