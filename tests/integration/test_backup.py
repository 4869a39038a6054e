"""`newvisions backup` and `restore` as their user runs them: what comes back is what was, byte for byte."""

import asyncio
import base64
import json
import os
import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, IndexModel

from dev.performer import Performer, accepted
from dev.project import PYTHONPATH, python
from dev.stack import Stack
from tests import samples

SECONDS = 120
SERVICES = ("auth", "voice", "perform")
AS_THEY_ARE: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
Documents = dict[str, list[bytes]]


async def newvisions(*arguments: str, **variables: str) -> tuple[int | None, str]:
    """Exit code and all that was said, with nothing in the environment but these variables."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *python("dev.backup", *arguments),
        env={**inherited, **PYTHONPATH, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await child.communicate()
    return child.returncode, said.decode()


@dataclass(frozen=True)
class Place:
    """The stores of one deployment."""

    folder: Path
    mongo: AsyncMongoClient[dict[str, Any]]
    variables: dict[str, str]

    def database(self, service: str) -> Any:
        name = "AUTH_DATABASE" if service == "auth" else f"{service.upper()}_MONGO_DATABASE"
        return self.mongo[self.variables[name]]

    async def documents(self) -> Documents:
        found: Documents = {}
        for service in SERVICES:
            for name in await self.database(service).list_collection_names():
                kept = self.database(service).get_collection(name, codec_options=AS_THEY_ARE)
                found[f"{service}.{name}"] = [each.raw async for each in kept.find({}).sort("_id", 1)]
        return found

    async def indexes(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for service in SERVICES:
            for name in await self.database(service).list_collection_names():
                there = await self.database(service)[name].list_indexes()
                found[f"{service}.{name}"] = sorted([str(dict(index)) async for index in there])
        return found

    def blobs(self) -> dict[str, bytes]:
        return files_in(self.folder / "blobs")

    async def run(self, *arguments: str) -> tuple[int | None, str]:
        return await newvisions(*arguments, "--environment", **self.variables)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def place(folder: Path, url: str, mongo: AsyncMongoClient[dict[str, Any]], keys: Path) -> Place:
    unique, stores = uuid4().hex[:12], folder / "blobs"
    variables = {f"{service.upper()}_MONGO_URL": url for service in SERVICES}
    names = ("AUTH_DATABASE", "VOICE_MONGO_DATABASE", "PERFORM_MONGO_DATABASE")
    variables |= {name: f"{name.split('_')[0].lower()}_{unique}" for name in names}
    variables |= {f"{name.upper()}_BLOB_URL": (stores / name).as_uri() for name in ("voice", "perform")}
    variables |= {f"{name.upper()}_KEY_FILE": str(keys / f"{name}.key") for name in ("auth", "voice")}
    # Asked for by the settings; nothing of it is kept.
    variables |= {f"{name}_VALKEY_URL": "redis://127.0.0.1:9" for name in ("AUTH", "VOICE")}
    return Place(folder, mongo, variables)


@pytest.fixture
async def mongo(mongo_url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, uuidRepresentation="standard") as client:
        yield client


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("auth", "voice"):
        (folder / f"{name}.key").write_bytes(base64.b64encode(os.urandom(32)))
    return folder


@pytest.fixture
async def full(tmp_path: Path, mongo_url: str, mongo: Any, keys: Path) -> Place:
    """Documents with every kind of value, in more than one batch, and blobs with names that need care."""
    kept = place(tmp_path / "full", mongo_url, mongo, keys)
    users = kept.database("auth")["users"]
    await users.create_indexes(
        [
            IndexModel("name", unique=True, name="name"),
            IndexModel([("a", 1), ("b", -1)], sparse=True, name="both"),
            IndexModel("until", expireAfterSeconds=0, name="ended"),
        ]
    )
    await kept.database("voice")["voices"].create_index("in", partialFilterExpression={"in": True})
    await kept.database("voice")["empty"].create_index("nothing")
    odd = {"n": Int64(1), "d": Decimal128("1.10"), "o": ObjectId(), "x": None, "l": [1, {"a": 2.5}]}
    far = datetime(2100, 1, 1, tzinfo=UTC)
    await users.insert_many([{"_id": uuid4(), "name": f"user {n}", "until": far, **odd} for n in range(1200)])
    await kept.database("voice")["voices"].insert_many([{"_id": f"user-{n}", "in": n > 1} for n in range(3)])
    await kept.database("perform")["performances"].insert_one({"_id": uuid4(), "z": 1, "a": Binary(b"1", 5)})
    for name in ("voice/samples/one", "perform/some%20one|else/a b.mp3", "perform/recordings/ü/1.mp3"):
        path = kept.folder / "blobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(3000))
    return kept


@pytest.fixture
def empty(tmp_path: Path, mongo_url: str, mongo: Any, keys: Path) -> Place:
    return place(tmp_path / "empty", mongo_url, mongo, keys)


async def test_what_comes_back_is_what_was_there(full: Place, empty: Place, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    code, said = await full.run("backup", str(backup))
    assert code == 0, said
    assert "1204 documents and 3 blobs" in said
    assert "THE KEY FILES ARE NOT IN IT" in said
    assert not (backup / "keys").exists()
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [backup, *backup.rglob("*")]} == {0}
    code, said = await empty.run("restore", str(backup))
    assert code == 0, said
    after = await empty.documents()
    assert after == await full.documents()
    assert sum(map(len, after.values())) == 1204
    assert await empty.indexes() == await full.indexes()
    assert empty.blobs() == full.blobs()
    assert len(empty.blobs()) == 3


async def test_data_is_not_restored_over_unless_it_is_said(full: Place, empty: Place, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup")
    await full.run("backup", backup)
    await empty.database("auth")["users"].insert_one({"_id": "somebody"})
    await empty.database("auth")["leftover"].insert_one({"_id": "something"})
    stray = empty.folder / "blobs/voice/stray"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    before = await empty.documents()
    code, said = await empty.run("restore", backup)
    assert (code, "has documents in" in said) == (1, True)
    assert await empty.documents() == before
    code, said = await empty.run("restore", backup, "--replace")
    assert code == 0, said
    assert await empty.documents() == await full.documents()
    assert empty.blobs() == full.blobs()


async def test_a_damaged_file_is_noticed_before_anything_changes(
    full: Place, empty: Place, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    await full.run("backup", str(backup))
    for file in ("database/auth/users.bson", "blobs/voice/samples/one"):
        whole = (backup / file).read_bytes()
        middle = len(whole) // 2
        (backup / file).write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        code, said = await empty.run("restore", str(backup))
        assert (code, f"{file} is not what was written" in said) == (1, True)
        (backup / file).write_bytes(whole)
    (backup / file).unlink()
    code, said = await empty.run("restore", str(backup))
    assert (code, f"{file} cannot be read" in said) == (1, True)
    assert await empty.documents() == {}


async def test_a_backup_that_was_cut_off_is_none_and_none_is_made_over_another(
    full: Place, empty: Place, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    await full.run("backup", str(backup))
    code, said = await full.run("backup", str(backup))
    assert (code, "is not empty" in said) == (1, True)
    (backup / "manifest.json").unlink()
    code, said = await empty.run("restore", str(backup))
    assert (code, "holds no whole backup" in said) == (1, True)


async def test_other_keys_are_refused_and_kept_ones_come_back(
    full: Place, empty: Place, keys: Path, tmp_path: Path
) -> None:
    without, with_keys = tmp_path / "without", tmp_path / "with"
    await full.run("backup", str(without))
    code, said = await full.run("backup", str(with_keys), "--with-keys")
    assert (code, "NOT IN IT" in said) == (0, False)
    right = files_in(keys)
    assert files_in(with_keys / "keys") == right
    assert stat.S_IMODE((with_keys / "keys/auth.key").stat().st_mode) == 0o600
    # A key added by a rotation is no other key.
    (keys / "voice.key").write_bytes(base64.b64encode(bytes(32)) + b"\n" + right["voice.key"])
    (keys / "auth.key").unlink()
    code, said = await empty.run("restore", str(without))
    assert (code, "auth.key is not the key of auth" in said) == (1, True)
    assert await empty.documents() == {}
    code, said = await empty.run("restore", str(with_keys))
    assert code == 0, said
    assert (keys / "auth.key").read_bytes() == right["auth.key"]
    assert stat.S_IMODE((keys / "auth.key").stat().st_mode) == 0o600
    assert (keys / "voice.key").read_bytes().endswith(right["voice.key"])


@pytest.mark.slow
async def test_a_performance_survives_the_loss_of_all_stores(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    async with Stack(data, engine="tone", environment={"CONTENT_MODELS": "offline"}) as stack:
        (code,) = await stack.activation_codes(1)
        async with Performer.signed_up(stack.url, code) as performer:
            accepted(await performer.upload(samples.speech()))
            accepted(await performer.perform("Seven of Hearts"))
            (recording,) = await performer.recordings()
            audio = (await performer.http.get(f"/v1/recordings/{recording['id']}/audio")).content
        # The services are at work meanwhile.
        ended, said = await newvisions("backup", str(backup), "--data-dir", str(data))
        assert ended == 0, said
        ended, said = await newvisions("restore", str(backup), "--data-dir", str(data))
        assert (ended, "stop it first" in said) == (1, True)
    for lost in ("mongo", "valkey", "blobs"):
        shutil.rmtree(data / lost)
    ended, said = await newvisions("restore", str(backup), "--data-dir", str(data))
    assert ended == 0, said
    kept = json.loads((backup / "manifest.json").read_text())
    assert kept["blobs"]["perform"] == 1 <= kept["blobs"]["voice"]
    # Of a stack that is stopped, and so of exactly what came back.
    second = tmp_path / "second"
    ended, said = await newvisions("backup", str(second), "--data-dir", str(data))
    assert ended == 0, said
    assert json.loads((second / "manifest.json").read_text())["files"] == kept["files"]
    async with (
        Stack(data, engine="tone", environment={"CONTENT_MODELS": "offline"}) as again,
        httpx.AsyncClient(base_url=again.url, timeout=30) as http,
    ):
        returned = await Performer.logged_in(http, performer.username)
        assert await returned.recordings() == [recording]
        found = await http.get(f"/v1/recordings/{recording['id']}/audio")
        assert found.content == audio
        # In the voice that was uploaded before: its sealed sample opens.
        accepted(await returned.perform("Queen of Spades"))
