"""Migrations on a real store: once each, by one replica, whatever dies on the way."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient, monitoring

from dev.project import PYTHONPATH, python
from services.auth.schema import SCHEMA as AUTH
from services.kernel.schema import (
    COLLECTION,
    Database,
    Keeper,
    Migration,
    Schema,
    SchemaSettings,
    SchemaUnfit,
    bring_up_to_date,
)
from services.perform.schema import SCHEMA as PERFORM
from services.voice.schema import SCHEMA as VOICE

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Library:
    """A service of nobody, whose migrations count how often they ran."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.schema = Schema("library", (self._named("shelves"), self._named("books")))

    def _named(self, name: str) -> Migration:
        async def apply(database: Database, now: datetime) -> int:
            self.runs.append(name)
            await database[name].insert_one({"made_at": now})
            return 1

        return Migration(name, apply)


@pytest.fixture
async def kept(mongo_url: str) -> AsyncIterator[Database]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True) as client:
        name = f"library_{uuid4().hex}"
        yield client[name]
        await client.drop_database(name)


@pytest.fixture
def library() -> Library:
    return Library()


async def test_an_empty_database_goes_through_all_migrations_and_keeps_a_record(
    kept: Database, library: Library, mongo_url: str
) -> None:
    await bring_up_to_date(mongo_url, kept.name, library.schema)
    keeper = Keeper(kept, library.schema)
    assert (library.runs, await keeper.version()) == (["shelves", "books"], 2)
    assert [(each.number, each.name, each.documents) for each in await keeper.done()] == [
        (1, "shelves", 1),
        (2, "books", 1),
    ]
    await bring_up_to_date(mongo_url, kept.name, library.schema)
    assert library.runs == ["shelves", "books"]


async def test_a_database_that_is_up_to_date_costs_one_read(
    kept: Database, library: Library, mongo_url: str
) -> None:
    await bring_up_to_date(mongo_url, kept.name, library.schema)
    asked: list[str] = []

    class Watch(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            asked.append(event.command_name)

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

        def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    async with AsyncMongoClient[dict[str, Any]](mongo_url, event_listeners=[Watch()]) as client:
        await Keeper(client[kept.name], library.schema).settle(SchemaSettings())
        assert asked == ["find"]


async def test_of_many_replicas_one_migrates(kept: Database, library: Library, mongo_url: str) -> None:
    starts = (bring_up_to_date(mongo_url, kept.name, library.schema) for _ in range(6))
    await asyncio.gather(*starts)
    assert library.runs == ["shelves", "books"]


async def test_a_release_that_adds_one_runs_only_that(
    kept: Database, library: Library, mongo_url: str
) -> None:
    older = Schema("library", library.schema.migrations[:1])
    await bring_up_to_date(mongo_url, kept.name, older)
    await bring_up_to_date(mongo_url, kept.name, library.schema)
    assert library.runs == ["shelves", "books"]


async def test_a_newer_form_is_refused(kept: Database, library: Library, mongo_url: str) -> None:
    await bring_up_to_date(mongo_url, kept.name, library.schema)
    older = Schema("library", library.schema.migrations[:1])
    with pytest.raises(SchemaUnfit, match=r"^the documents of library are of form 2, a newer release's"):
        await bring_up_to_date(mongo_url, kept.name, older)
    with pytest.raises(SchemaUnfit, match="form 2"):
        await Keeper(kept, older).migrate(again=True)


async def test_an_older_form_is_refused_or_waited_for_by_setting(kept: Database, library: Library) -> None:
    keeper = Keeper(kept, library.schema)
    with pytest.raises(SchemaUnfit, match=r"run `python -m services\.migrate library`"):
        await keeper.settle(SchemaSettings(when_older="refuse"))
    with pytest.raises(SchemaUnfit, match="of form 0, and this release needs form 2"):
        await keeper.settle(SchemaSettings(when_older="wait", wait_seconds=0.05))
    assert library.runs == []
    waiting = asyncio.create_task(keeper.settle(SchemaSettings(when_older="wait", wait_seconds=60)))
    await Keeper(kept, library.schema).migrate()
    await waiting
    assert library.runs == ["shelves", "books"]


async def test_a_lease_whose_holder_died_is_taken_over_when_it_has_ended(
    kept: Database, library: Library
) -> None:
    begun: dict[str, Any] = {"_id": "schema", "version": 0, "done": [], "holder": "a dead replica"}
    ends = datetime.now(UTC) + timedelta(seconds=1)
    await kept[COLLECTION].insert_one({**begun, "until": ends})
    await Keeper(kept, library.schema).migrate()
    assert datetime.now(UTC) >= ends
    assert library.runs == ["shelves", "books"]


async def test_a_migration_that_failed_leaves_no_lease_and_runs_again(kept: Database) -> None:
    tries = []

    async def apply(database: Database, now: datetime) -> int:
        tries.append(now)
        if len(tries) == 1:
            raise ZeroDivisionError
        return 0

    schema = Schema("library", (Migration("fragile", apply),))
    with pytest.raises(ZeroDivisionError):
        await Keeper(kept, schema).migrate()
    found = await kept[COLLECTION].find_one({})
    assert found is not None
    assert (found["version"], found["holder"]) == (0, None)
    await Keeper(kept, schema).migrate()
    assert len(tries) == 2


async def test_a_migration_is_under_its_lease_as_long_as_it_takes(kept: Database, library: Library) -> None:
    """The lease is renewed: nobody else begins while one works for longer than it lasts."""
    overlapping, inside = [], 0

    async def apply(database: Database, now: datetime) -> int:
        nonlocal inside
        inside += 1
        overlapping.append(inside)
        ends: set[datetime] = set()
        async with asyncio.timeout(30):
            while len(ends) < 4:
                found = await database[COLLECTION].find_one({})
                assert found is not None
                ends.add(found["until"])
        inside -= 1
        return 0

    schema = Schema("library", (Migration("long", apply),))
    await asyncio.gather(*(Keeper(kept, schema, lease_seconds=0.5).migrate() for _ in range(3)))
    assert overlapping == [1]


def auth_variables(mongo_url: str, database: str, folder: Path) -> dict[str, str]:
    """For services.migrate, which asks for no more than the address; the rest only has to be there."""
    (folder / "auth.key").write_text(os.urandom(32).hex())
    return {
        "AUTH_MONGO_URL": mongo_url,
        "AUTH_DATABASE": database,
        "AUTH_VALKEY_URL": "redis://127.0.0.1:9",
        "AUTH_KEY_FILE": str(folder / "auth.key"),
        "SCHEMA_LEASE_SECONDS": "1",
    }


async def process(module: str, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *python(module, *arguments),
        env={**inherited, **PYTHONPATH, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def told(child: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(90):
        said, _ = await child.communicate()
    return child.returncode, said.decode()


async def test_a_process_killed_in_the_middle_is_finished_by_the_next(
    kept: Database, mongo_url: str, tmp_path: Path
) -> None:
    await kept["users"].insert_many(
        [
            {"_id": f"user-{n}", "username_key": f"u{n}", "email_key": f"{n}@example.org"}
            | {"settings": {"stability": (n % 101) / 100}}
            for n in range(160)
        ]
    )
    variables = auth_variables(mongo_url, kept.name, tmp_path)
    dying = await process("services.migrate", "auth", **variables)
    async with asyncio.timeout(60):
        while await kept["users"].count_documents({"settings.voice_stability": {"$exists": True}}) == 0:
            assert dying.returncode is None
    dying.send_signal(signal.SIGKILL)
    await dying.communicate()
    left = await kept["users"].count_documents({"settings.stability": {"$exists": True}})
    assert 0 < left < 160
    # What it had taken ends a second after its last sign of life.
    code, said = await told(await process("services.migrate", "auth", "--json", **variables))
    assert code == 0, said
    found = json.loads(said.splitlines()[-1])
    assert (found["version"], found["needs"]) == (AUTH.version, AUTH.version)
    assert [each["number"] for each in found["done"]] == list(range(1, AUTH.version + 1))
    for n in range(160):
        user = await kept["users"].find_one({"_id": f"user-{n}"})
        assert user is not None
        assert user["settings"] == {"voice_stability": n % 101}
    code, said = await told(await process("services.migrate", "auth", "--check", **variables))
    form = f"auth: form {AUTH.version}, this release needs {AUTH.version}"
    assert (code, said.splitlines()[0]) == (0, form)


async def test_a_service_that_finds_a_newer_form_says_one_line_and_ends(
    kept: Database, mongo_url: str, tmp_path: Path
) -> None:
    await kept[COLLECTION].insert_one(
        {"_id": "schema", "version": 99, "done": [], "holder": None, "until": None}
    )
    variables = {
        "PERFORM_MONGO_URL": mongo_url,
        "PERFORM_MONGO_DATABASE": kept.name,
        "PERFORM_BLOB_URL": tmp_path.as_uri(),
        "SERVER_ADDRESS": "127.0.0.1:0",
    }
    code, said = await told(await process("services.perform", **variables))
    (line,) = said.splitlines()
    assert code == 1
    known = len(PERFORM.migrations)
    assert line.startswith(
        f"the documents of perform are of form 99, a newer release's; this one knows form {known}:"
    )


async def test_a_service_that_finds_no_database_says_one_line_and_ends(tmp_path: Path) -> None:
    variables = {
        "PERFORM_MONGO_URL": "mongodb://127.0.0.1:9",
        "PERFORM_BLOB_URL": tmp_path.as_uri(),
        "SERVER_ADDRESS": "127.0.0.1:0",
    }
    code, said = await told(await process("services.perform", **variables))
    line = "setting PERFORM_MONGO_URL: the database does not do what was asked (ServerSelectionTimeoutError)"
    assert (code, said.splitlines()) == (1, [line])


async def test_an_index_that_was_dropped_comes_back_with_again(
    kept: Database, mongo_url: str, tmp_path: Path
) -> None:
    await Keeper(kept, AUTH).migrate()
    await kept["users"].drop_index("email")
    variables = auth_variables(mongo_url, kept.name, tmp_path)
    code, said = await told(await process("services.migrate", "--again", SERVER_SERVICES="auth", **variables))
    assert code == 0, said
    assert "email" in await kept["users"].index_information()


def test_migrations_have_names_of_their_own() -> None:
    for schema in (AUTH, VOICE, PERFORM):
        names = [each.name for each in schema.migrations]
        assert len(names) == len(set(names)) > 0
