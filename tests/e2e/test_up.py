"""`newvisions up` as its user meets it: a line when ready, commands that work, an end to everything."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.performer import PASSWORD, Performer, accepted
from dev.ports import free_port
from dev.project import PYTHONPATH, python
from dev.stack import DataDirectoryInUse, Stack
from dev.up import steps

pytestmark = pytest.mark.slow
READY_SECONDS = 120


@asynccontextmanager
async def up(data: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A running `up --json`, and what it printed when it was ready."""
    child = await asyncio.create_subprocess_exec(
        *python("dev.up", "--json", "--engine", "tone", "--data-dir", str(data), *arguments),
        cwd=data.parent,
        env={**os.environ, **PYTHONPATH},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await child.stdout.readline()
        yield child, json.loads(line)
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


async def answers(url: str) -> bool:
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"{url}/v1/health")).status_code == 200
        except httpx.ConnectError:
            return False


async def test_up_is_there_when_it_says_so_and_keeps_its_data_whether_stopped_or_killed(
    tmp_path: Path,
) -> None:
    data, port = tmp_path / "data dir", free_port()
    async with up(data, "--port", str(port)) as (child, ready):
        assert ready["url"] == f"http://127.0.0.1:{port}"
        name = await used(ready)
        await every_printed_command_works(ready, data)
        # Two stacks on the same data would destroy each other's.
        with pytest.raises(DataDirectoryInUse, match=str(child.pid)):
            async with Stack(data, engine="tone"):
                pass
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await child.wait() == 0
        assert not await answers(ready["url"])
    async with up(data, "--processes", "many") as (child, again):
        await logged_in(again, name)
        child.kill()
        await child.wait()
        # It takes its processes along.
        async with asyncio.timeout(30):
            while await answers(again["url"]):  # noqa: ASYNC110 - the dead send no events
                await asyncio.sleep(0.1)
        # The data is free again at once, and whole.
        async with up(data) as (_, third):
            await logged_in(third, name)


async def used(ready: dict[str, Any]) -> str:
    """The name of a new user; all that the line tells is true."""
    assert set(ready) == {"url", "activation_codes", "admin_token"}
    assert await answers(ready["url"])
    operator = {"authorization": f"Bearer {ready['admin_token']}"}
    async with httpx.AsyncClient(base_url=ready["url"], headers=operator) as http:
        accepted(await http.post("/v1/admin/activation-codes", json={"count": 1}))
    async with Performer.signed_up(ready["url"], ready["activation_codes"][0]) as performer:
        return performer.username


async def every_printed_command_works(ready: dict[str, Any], data: Path) -> None:
    """When it is pasted, one after the other."""
    for what, command in steps(ready["url"], data, ready["activation_codes"][1]):
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", command),
            cwd=data.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await shell.communicate()
        assert shell.returncode == 0, (what, complaint)
        assert b'"error"' not in said, (what, said)
    for memo in ("streamed.mp3", "memo.mp3"):
        assert (data.parent / memo).read_bytes()[:3] == b"ID3"


async def logged_in(ready: dict[str, Any], name: str) -> None:
    async with httpx.AsyncClient(base_url=ready["url"]) as http:
        accepted(await http.post("/v1/auth/login", json={"username": name, "password": PASSWORD}))
