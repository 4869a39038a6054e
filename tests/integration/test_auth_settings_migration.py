"""Settings of an older release, on the real store: renewed once, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.mongo import Database, open_database
from services.auth.schema import SCHEMA
from tests.integration.test_auth_service import environment, serving

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
OLD = {
    "language": "spanish",
    "sex": "female",
    "stability": 0.35,
    "similarity": 1,
    "add_background_sound": True,
}
NEW = {
    "voice_language": "es",
    "speaker_sex": "female",
    "voice_stability": 35,
    "voice_similarity": 100,
    "background_sound": True,
}

Users = AsyncCollection[dict[str, Any]]


@pytest.fixture
def name() -> str:
    return f"auth_{uuid4().hex}"


@pytest.fixture
async def users(mongo_url: str, name: str) -> AsyncIterator[Users]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        yield client[name]["users"]
        await client.drop_database(name)


@pytest.fixture
async def database(mongo_url: str, name: str) -> AsyncIterator[Database]:
    async with open_database(mongo_url, name, 8) as database:
        yield database


@pytest.fixture
def variables(mongo_url: str, name: str, tmp_path: Path) -> dict[str, str]:
    return environment(mongo_url, tmp_path, AUTH_DATABASE=name)


def user(settings: Any = None, **beside: Any) -> dict[str, Any]:
    key = uuid4().hex
    document = {
        "_id": str(uuid4()),
        "username": f"u{key}",
        "username_key": f"u{key}",
        "email": f"{key}@example.org",
        "email_key": f"{key}@example.org",
        "password_hash": None,
        "created_at": NOW,
        "roles": ["user"],
        "monthly_limit": None,
        "disabled": False,
        **beside,
    }
    return document if settings is None else {**document, "settings": settings}


async def renew(users: Users) -> int:
    """How many documents the migration changed."""
    (migration,) = (each for each in SCHEMA.migrations if each.name == "settings_in_percent")
    return await migration.apply(users.database, NOW)


async def settings_of(users: Users, user_id: str) -> Any:
    found = await users.find_one({"_id": user_id})
    assert found is not None
    assert not set(OLD) & set(found)
    return found["settings"]


async def test_fractions_become_percentages_exactly_once(users: Users) -> None:
    inside, beside = user(OLD), user({"voice_note_name": "Ana"}, **OLD)
    await users.insert_many([inside, beside])
    assert await renew(users) == 2
    assert await settings_of(users, inside["_id"]) == NEW
    assert await settings_of(users, beside["_id"]) == {**NEW, "voice_note_name": "Ana"}
    before = await users.find().to_list()
    assert await renew(users) == 0
    assert await users.find().to_list() == before


async def test_one_percent_is_never_taken_for_a_whole(database: Database, users: Users) -> None:
    one = user({"stability": 0.01, "similarity": 1})
    await users.insert_one(one)
    await renew(users)
    await database.users.change_settings(one["_id"], {"voice_similarity": 1})
    assert await renew(users) == 0
    kept = (await database.users.get(one["_id"])).preferences
    assert (kept.voice_stability, kept.voice_similarity) == (1, 1)


async def test_users_of_this_release_are_not_touched(users: Users) -> None:
    documents = [user({}), user({"voice_stability": 1}), user({**NEW, "later": 0.5})]
    await users.insert_many(documents)
    assert await renew(users) == 0
    assert await users.find().sort("_id").to_list() == sorted(documents, key=lambda each: str(each["_id"]))


CASES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (user({"stability": 0.5}), {"voice_stability": 50}),
    (user({"stability": 0.5, "voice_stability": 1}), {"voice_stability": 1}),
    (user({"stability": 0.5, "voice_stability": 0.25}), {"voice_stability": 50}),
    (user({"stability": "loud", "voice_stability": 0.25}), {}),
    (user({"stability": 50, "sex": "f", "language": 7, "add_background_sound": "no"}), {}),
    (user({"stability": [0.5], "similarity": {"is": 0.5}}), {}),
    (user({"stability": float("nan"), "similarity": 0.75}), {"voice_similarity": 75}),
    (user({"stability": 0.5, "voice_stability": float("nan")}), {"voice_stability": 50}),
    (user({"sex": "male", "voice_stability": [1, {"a": 2}]}), {"speaker_sex": "male"}),
    (user({"sex": "male", "unknown": 0.5}), {"speaker_sex": "male", "unknown": 0.5}),
    (user(), {}),
    (user(stability=0.5), {"voice_stability": 50}),
    (user("none"), {}),
    (user(["stability"], language="english"), {"voice_language": "en"}),
    (user(0.5), {}),
)


async def test_partial_mixed_and_senseless_documents_can_be_read_afterwards(
    database: Database, users: Users
) -> None:
    await users.insert_many([document for document, _ in CASES])
    assert await renew(users) == len(CASES)
    for document, expected in CASES:
        assert await settings_of(users, document["_id"]) == expected, document
        assert (await database.users.get(document["_id"])).user_id == document["_id"]


async def test_migrations_at_once_renew_each_user_once(users: Users) -> None:
    documents = [user({**OLD, "stability": share / 100}) for share in range(101)]
    await users.insert_many(documents)
    assert sum(await asyncio.gather(*(renew(users) for _ in range(3)))) == 101
    for share, document in enumerate(documents):
        assert await settings_of(users, document["_id"]) == {**NEW, "voice_stability": share}


async def test_a_migration_that_died_half_way_goes_on(users: Users) -> None:
    documents = [user(OLD) for _ in range(150)]
    await users.insert_many(documents)
    dying = asyncio.create_task(renew(users))
    while await users.count_documents({"settings.voice_stability": 35}) == 0:
        assert not dying.done()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    left = await users.count_documents({"settings.stability": {"$exists": True}})
    assert 0 < left < 150
    # What was under way when it died may have arrived after all.
    assert 0 < await renew(users) <= left
    for document in documents:
        assert await settings_of(users, document["_id"]) == NEW


async def test_a_choice_made_while_documents_are_renewed_stays(database: Database, users: Users) -> None:
    documents = [user(OLD) for _ in range(60)]
    await users.insert_many(documents)
    await asyncio.gather(
        renew(users),
        *(database.users.change_settings(each["_id"], {"voice_stability": 1}) for each in documents[::2]),
    )
    for index, document in enumerate(documents):
        expected = {**NEW, "voice_stability": 1} if index % 2 == 0 else NEW
        assert await settings_of(users, document["_id"]) == expected


async def test_the_service_renews_before_it_answers(variables: dict[str, str], users: Users) -> None:
    old = user(OLD)
    await users.insert_one(old)
    async with serving(variables) as auth:
        identity = (("x-user-id", old["_id"]), ("x-user-roles", "user"))
        seen = await auth.GetSettings(pb.GetSettingsRequest(user_id=old["_id"]), metadata=identity)
        assert (seen.voice_language, seen.voice_stability, seen.background_sound) == ("es", 35, True)
