"""The operator's command line for voices: tables for people, JSON for scripts, and how it ends."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from dev.project import PYTHONPATH, ROOT, python
from dev.simulator.faults import Fault
from services.voice.cli import run
from tests.integration.voice_pool_stage import PoolStage, open_pool_stage, until


@pytest.fixture(scope="module")
async def opened(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PoolStage]:
    async with open_pool_stage(mongo_url, valkey_url, tmp_path_factory.mktemp("pool")) as stage:

        async def has_begun() -> bool:
            return bool(await stage.pools.find_one({"reconciled_at": {"$ne": None}}))

        # After the pass at the start there is none for long but those that are asked for.
        await until(has_begun)
        yield stage


@pytest.fixture
async def stage(opened: PoolStage, monkeypatch: pytest.MonkeyPatch) -> PoolStage:
    await opened.simulator.reset(slots=3, adds=20)
    await opened.documents.delete_many({})
    await opened.pools.delete_many({})
    await opened.cache.flushdb()
    for name, value in opened.environment.items():
        monkeypatch.setenv(name, value)
    return opened


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands in this process; the real one is started by another test."""

    screen: pytest.CaptureFixture[str]

    async def says(self, *arguments: str, ends_with: int = 0) -> str:
        self.screen.readouterr()
        with capture_logs():
            code: Any = 0
            try:
                await run(arguments)
            except SystemExit as end:
                code = end.code
        assert code == ends_with
        return self.screen.readouterr().out

    async def tells(self, *arguments: str, ends_with: int = 0) -> Any:
        (line,) = (await self.says(*arguments, "--json", ends_with=ends_with)).splitlines()
        return json.loads(line)

    async def complains(self, *arguments: str) -> str:
        self.screen.readouterr()
        with capture_logs(), pytest.raises(SystemExit) as end:
            await run(arguments)
        seen = self.screen.readouterr()
        assert seen.out == ""
        complaint = seen.err if end.value.code == 2 else str(end.value.code)
        assert "newvisions admin voice" in complaint
        return complaint


@pytest.fixture
def cli(stage: PoolStage, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


async def clone_id_of(stage: PoolStage, user_id: str) -> str:
    clone = (await stage.document(user_id)).clone
    assert clone is not None
    return clone.clone_id


async def test_the_pool_is_shown_to_people_and_to_scripts(stage: PoolStage, cli: Terminal) -> None:
    assert (await cli.tells("pool", "reconcile"))["pending"] == 0
    await stage.given(held=True)
    status = await cli.tells("pool", "status")
    assert (status["provider"], status["capacity"], status["size"]) == ("elevenlabs", 3, 1)
    assert (status["adds_limit"], status["pinned"], status["deletion_pending"]) == (20, 0, 0)
    assert status["last_reconcile"].endswith("+00:00")
    shown = dict(line.split(maxsplit=1) for line in (await cli.says("pool", "status")).splitlines())
    assert shown.keys() == status.keys()
    assert (shown["provider"], shown["size"]) == ("elevenlabs", "1")


async def test_a_status_is_shown_also_without_the_cache(
    stage: PoolStage, cli: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cli.says("pool", "reconcile")
    monkeypatch.setenv("VOICE_VALKEY_URL", "redis://127.0.0.1:1")
    status = await cli.tells("pool", "status")
    assert (status["capacity"], status["pinned"], status["reuse_ratio"]) == (3, None, None)
    assert "pinned            -\n" in await cli.says("pool", "status")


async def test_a_reconciliation_can_be_tried_first(stage: PoolStage, cli: Terminal) -> None:
    user_id = await stage.given(held=True)
    await stage.documents.delete_one({"_id": user_id})
    dry = await cli.tells("pool", "reconcile", "--dry-run")
    assert (dry["dry_run"], dry["orphans_deleted"]) == (True, 1)
    assert await stage.held() == {user_id}
    done = await cli.tells("pool", "reconcile")
    assert (done["dry_run"], done["orphans_deleted"], done["pending"]) == (False, 1, 0)
    assert await stage.held() == set()


async def test_what_is_left_for_another_pass_shows_in_how_it_ends(stage: PoolStage, cli: Terminal) -> None:
    user_id = await stage.given(held=True)
    await stage.documents.delete_one({"_id": user_id})
    await stage.simulator.ask_for("delete", *[Fault.BUSY] * 3)
    assert (await cli.tells("pool", "reconcile", ends_with=3))["pending"] == 1
    assert (await cli.tells("pool", "reconcile"))["deletions_retried"] == 1


async def test_clones_are_listed_and_evicted(stage: PoolStage, cli: Terminal) -> None:
    users = [await stage.given(held=True) for _ in range(3)]
    listed = (await cli.tells("clones", "list"))["clones"]
    assert {each["user_id"] for each in listed} == set(users)
    assert all(each["in_pool"] and each["provider"] == "elevenlabs" for each in listed)
    heading, *lines = (await cli.says("clones", "list", "--limit", "2")).splitlines()
    assert heading.split()[:2] == ["voice_id", "user_id"]
    assert [line.split()[0] for line in lines] == [each["voice_id"] for each in listed[:2]]

    evicted = await cli.tells("pool", "evict", await clone_id_of(stage, users[0]))
    assert (evicted["user_id"], evicted["confirmed"]) == (users[0], True)
    assert await stage.held() == set(users[1:])
    await stage.simulator.ask_for("delete", *[Fault.FAILED_BEFORE] * 3)
    told = await cli.tells("pool", "evict", await clone_id_of(stage, users[1]), ends_with=3)
    assert told["confirmed"] is False
    assert "There is no such clone" in await cli.complains("pool", "evict", str(uuid4()))
    await stage.lease(users[2])
    assert "performance" in await cli.complains("pool", "evict", await clone_id_of(stage, users[2]))


def with_a_new_key(key_file: Path) -> None:
    key_file.write_bytes(base64.b64encode(os.urandom(32)) + b"\n" + key_file.read_bytes())


async def test_keys_are_rotated(stage: PoolStage, cli: Terminal) -> None:
    user_id = await stage.given()
    with_a_new_key(Path(stage.environment["VOICE_KEY_FILE"]))
    told = await cli.tells("keys", "rotate")
    assert (told["resealed"], told["old_keys_may_go"]) == (1, True)
    assert (await cli.tells("keys", "rotate"))["resealed"] == 0
    sample = (await stage.document(user_id)).sample
    assert sample is not None


async def test_without_a_provider_only_the_pool_is_refused(
    stage: PoolStage, cli: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICE_PROVIDER", "")
    for command in (("status",), ("reconcile",), ("evict", "x")):
        assert "embedded engine only" in await cli.complains("pool", *command)
    assert (await cli.tells("clones", "list"))["clones"] == []


@pytest.mark.parametrize(
    "command", [(), ("pool",), ("pool", "evict"), ("clones", "list", "--limit", "0"), ("ghosts", "list")]
)
async def test_a_command_that_is_none_is_explained(cli: Terminal, command: tuple[str, ...]) -> None:
    assert "usage:" in await cli.complains(*command)


async def test_missing_settings_are_named(cli: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOICE_MONGO_URL")
    assert "VOICE_MONGO_URL" in await cli.complains("pool", "status")


async def test_a_key_that_is_not_there_is_named(
    cli: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOICE_ELEVENLABS_API_KEY_FILE", str(tmp_path / "nothing"))
    assert "cannot be read" in await cli.complains("pool", "status")
    monkeypatch.setenv("VOICE_PROVIDER", "")
    monkeypatch.setenv("VOICE_KEY_FILE", str(tmp_path / "nothing"))
    assert "nothing" in await cli.complains("keys", "rotate")


async def started(*arguments: str, **environment: str) -> tuple[int | None, str, str]:
    child = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=ROOT,
        env={**os.environ, **PYTHONPATH, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    return child.returncode, out.decode(), err.decode()


async def test_it_is_reached_through_the_settings_of_a_running_stack(
    stage: PoolStage, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(stage.environment))
    admin = (*python("dev.admin"), "--data-dir", str(tmp_path), "voice", "clones", "list", "--json")
    await stage.given(held=True)
    code, out, err = await started(*admin)
    assert (code, err) == (0, "")
    assert len(json.loads(out)["clones"]) == 1


async def test_help_needs_no_stack(tmp_path: Path) -> None:
    nowhere = ("--data-dir", str(tmp_path))
    code, out, _ = await started(*python("dev.admin"), *nowhere, "--help")
    assert code == 0
    assert "newvisions admin [--data-dir DIR] voice COMMAND" in out
    assert "activation codes" in out
    code, out, _ = await started(*python("dev.admin"), *nowhere, "voice", "pool", "--help")
    assert code == 0
    assert "reconcile" in out
    code, out, err = await started(*python("dev.admin"), *nowhere, "voice", "pool", "status")
    assert (code, out) == (1, "")
    assert "no stack runs" in err
    assert sys.executable not in err
