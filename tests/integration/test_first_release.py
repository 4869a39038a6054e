"""Documents as the first releases wrote them, migrated and read through the services of today.

tests/data/first_release.json was written by those releases' own repositories; only Eve's settings are older.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from bson import json_util
from pymongo import AsyncMongoClient

from dev.doctor.indexes import EXPECTED
from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from newvisions.perform.v1 import perform_service_pb2 as perform_pb
from newvisions.voice.v1 import voice_service_pb2 as voice_pb
from services.auth.schema import SCHEMA as AUTH
from services.perform.schema import SCHEMA as PERFORM
from services.voice.schema import SCHEMA as VOICE
from tests.integration import auth_channel, perform_stage, voice_stage

RELEASE = Path(__file__).parents[1] / "data/first_release.json"
ADA, EVE = "5f0c7a52-6d1b-4a53-9f34-6b1c0a8d1e01", "5f0c7a52-6d1b-4a53-9f34-6b1c0a8d1e02"
KEYED, KEYLESS, FAILED, HIDDEN, DYING = (
    f"22222222-2222-4222-8222-22222222222{number}" for number in range(5)
)

Database = Any


@pytest.fixture
async def mongo(mongo_url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    ) as client:
        yield client


@pytest.fixture
async def old(
    mongo: AsyncMongoClient[dict[str, Any]], request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """The database of the service that the test is about."""
    service = request.param
    database = mongo[f"old_{service}_{uuid4().hex[:12]}"]
    options = json_util.JSONOptions(tz_aware=True, tzinfo=UTC, uuid_representation=4)
    kept = json_util.loads(RELEASE.read_text(), json_options=options)[service]
    for name, collection in kept.items():
        if collection["indexes"]:
            await database.command({"createIndexes": name, "indexes": collection["indexes"]})
        if collection["documents"]:
            await database[name].insert_many(collection["documents"])
    yield database
    await mongo.drop_database(database.name)


async def indexes(database: Database) -> dict[str, frozenset[str]]:
    found = {
        name: frozenset({index["name"] async for index in await database[name].list_indexes()} - {"_id_"})
        for name in await database.list_collection_names()
    }
    return {name: names for name, names in found.items() if names}


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while True:
            if await true():
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("old", ["auth"], indirect=True)
async def test_accounts_of_the_first_release_go_on(
    old: Database, mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    variables = auth_channel.environment(mongo_url, valkey_url, tmp_path, AUTH_DATABASE=old.name)
    async with auth_channel.serving(variables) as stage:
        login = await stage.auth.Login(auth_pb.LoginRequest(username="ADA", password=auth_channel.PASSWORD))
        assert login.user_id == ADA
        me = {"metadata": auth_channel.signed_in(EVE)}
        settings = await stage.auth.GetSettings(auth_pb.GetSettingsRequest(user_id="me"), **me)
        assert (settings.voice_language, settings.speaker_sex) == ("es", "female")
        assert (settings.voice_stability, settings.voice_similarity) == (35, 100)
        ada = {"metadata": auth_channel.signed_in(ADA)}
        kept = await stage.auth.GetSettings(auth_pb.GetSettingsRequest(user_id="me"), **ada)
        assert (kept.voice_language, kept.background_volume) == ("es", 10)
        # The month's last entry is archived by the sweeper; the statement has both.
        await until(lambda: _archived(old))
        page = await stage.account.ListCreditEntries(account_pb.ListCreditEntriesRequest(), **ada)
        assert [(each.credits, each.state) for each in page.entries] == [(101, "settled"), (96, "settled")]
        codes = [
            (await stage.auth.VerifyActivationCode(auth_pb.VerifyActivationCodeRequest(code=code))).valid
            for code in ("AAAAA11111A", "BBBBB22222B")
        ]
        assert codes == [False, True]
    assert await indexes(old) == dict(EXPECTED["auth"])
    seen = await old["users"].find_one({"_id": EVE})
    assert seen is not None
    # Not since the account was made: nobody looked whether it was used.
    assert seen["seen_at"] >= began.replace(microsecond=0)
    done = (await old["schema_migrations"].find_one({"_id": "schema"}))["done"]
    assert [(each["name"], each["documents"]) for each in done] == [
        ("indexes", 0),
        ("settings_in_percent", 1),
        ("users_seen", 2),
        ("answers_by_user", 0),
        ("codes_by_maker", 0),
    ]
    assert len(done) == AUTH.version


async def _archived(old: Database) -> bool:
    return bool(await old["credit_entries"].count_documents({}) == 2)


@pytest.mark.parametrize("old", ["voice"], indirect=True)
async def test_voices_of_the_first_release_go_on(
    old: Database, mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    changes = {"VOICE_MONGO_DATABASE": old.name, "VOICE_SWEEP_SECONDS": "0.05"}
    async with voice_stage.open_stage(mongo_url, valkey_url, tmp_path, **changes) as stage:
        meta = await stage.voice.GetVoiceMeta(
            voice_pb.GetVoiceMetaRequest(user_id="me"), **voice_stage.signed_in(ADA)
        )
        assert (meta.has_sample, meta.has_clone, meta.in_pool) == (True, True, False)
        assert meta.voice_clone_id == "5f0c7a52-6d1b-4a53-9f34-6b1c0a8d1e0c"
        assert meta.updated_at.ToDatetime(UTC) == datetime(2026, 5, 2, 19, 30, tzinfo=UTC)
        # What an upload that died left behind is cleared away.
        await until(lambda: _given_up(old))
    assert await indexes(old) == dict(EXPECTED["voice"])


async def _given_up(old: Database) -> bool:
    """Its blobs are looked for once more a minute later."""
    return await old["voices"].find_one({"_id": EVE, "attempt": {"$exists": True}}) is None


@pytest.mark.parametrize("old", ["perform"], indirect=True)
async def test_recordings_of_the_first_release_go_on(
    old: Database, mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform_stage.furnish(monkeypatch, mongo_url, tmp_path)
    monkeypatch.setenv("PERFORM_MONGO_DATABASE", old.name)
    async with perform_stage.staged(monkeypatch) as stage:
        by = stage.by(ADA)
        page = await stage.stub.ListRecordings(perform_pb.ListRecordingsRequest(), **by)
        assert sorted(each.id for each in page.recordings) == [KEYED, KEYLESS]
        (first, _) = page.recordings
        assert (first.title, first.date, first.duration_seconds) == ("Morning thoughts", "2026-04-30", 6.2)
        assert list(first.waveform) == list(range(64))
        failed = await stage.performance(FAILED, ADA)
        assert (failed.state, failed.reason) == ("failed", "CREDITS_EXHAUSTED")
        kept = await stage.performance(KEYED, ADA)
        assert (kept.state, kept.charge, kept.HasField("ended_at")) == ("succeeded", 96, False)
        # What was deleted loses its audio, and what died on the way is undone.
        await until(lambda: _settled(old))
        assert await perform_stage.refusal(
            stage.stub.GetRecording(perform_pb.GetRecordingRequest(recording_id=HIDDEN), **by)
        ) == (404, "RECORDING_NOT_FOUND")
        assert (await stage.performance(DYING, ADA)).state in {"failed", "cancelled"}
    assert await indexes(old) == dict(EXPECTED["perform"])


async def _settled(old: Database) -> bool:
    unsettled = {"_id": {"$in": [UUID(HIDDEN), UUID(DYING)]}, "phase": {"$ne": "done"}}
    return bool(await old["performances"].count_documents(unsettled) == 0)


def test_an_index_that_changes_needs_a_migration() -> None:
    """A database that is up to date makes no index: a new one comes with a migration that makes it."""
    known = json.loads((RELEASE.parent / "schemas.json").read_text())
    hint = "add a migration to services/SERVICE/schema.py, then write its number and names to schemas.json"
    today = {
        service: {name: sorted(names) for name, names in sorted(collections.items())}
        for service, collections in EXPECTED.items()
    }
    assert {service: each["indexes"] for service, each in known.items()} == today, hint
    versions = {schema.service: schema.version for schema in (AUTH, VOICE, PERFORM)}
    assert {service: each["version"] for service, each in known.items()} == versions, hint
