"""The driver of the document database goes on working, whoever was cancelled while it waited."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev import embedded
from dev.ports import free_port
from dev.process import Process
from services.kernel.database import database_client

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONNECTIONS = 2


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    """Of its own, since it is frozen: its URL and its process group."""
    port = free_port()
    server = await Process.start(embedded.mongo(port, tmp_path), tmp_path, ROOT)
    yield embedded.mongo_url(port), server.pid
    os.killpg(server.pid, signal.SIGCONT)
    await server.stop()


async def test_a_connection_can_be_had_after_those_who_waited_for_one_were_cancelled_twice(
    server: tuple[str, int],
) -> None:
    url, group = server
    async with database_client(url, CONNECTIONS, seconds=10) as client:
        notes = client["database_client"]["notes"]

        def reading(callers: int) -> list[asyncio.Task[object]]:
            return [asyncio.create_task(notes.find_one({"_id": "a"})) for _ in range(callers)]

        await notes.insert_one({"_id": "a"})
        os.killpg(group, signal.SIGSTOP)
        waiting = [*reading(CONNECTIONS), *reading(4)][CONNECTIONS:]
        # By now each waits for the frozen server, or for a connection.
        for _ in range(100):
            await asyncio.sleep(0)
        for _ in range(2):
            for task in waiting:
                task.cancel()
            await asyncio.sleep(0)
        os.killpg(group, signal.SIGCONT)
        _, stuck = await asyncio.wait([*waiting, *reading(4)], timeout=20)
        assert not stuck
        assert all(task.cancelled() for task in waiting)


async def test_a_server_is_found_after_those_who_waited_for_it_were_cancelled_twice(tmp_path: Path) -> None:
    port = free_port()
    async with database_client(embedded.mongo_url(port), CONNECTIONS, seconds=10) as client:
        notes = client["database_client"]["notes"]
        waiting = [asyncio.create_task(notes.find_one({"_id": "a"})) for _ in range(20)]
        # By now each waits for a server that is not there.
        for _ in range(100):
            await asyncio.sleep(0)
        for _ in range(2):
            for task in waiting:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait(waiting, timeout=20)
        assert all(task.cancelled() for task in waiting)
        server = await Process.start(embedded.mongo(port, tmp_path), tmp_path, ROOT)
        try:
            async with asyncio.timeout(20):
                assert await notes.find_one({"_id": "a"}) is None
        finally:
            await server.stop()


async def test_those_who_wait_for_a_connection_get_one_in_turn(mongo_url: str) -> None:
    async with database_client(mongo_url, connections=4, seconds=10) as client:
        notes = client["database_client"]["notes"]
        served = [0] * 100

        async def ask(caller: int) -> None:
            """Again at once, as long as all are served: who is fast must not be served instead of others."""
            while max(served) < 20:
                await notes.find_one({"_id": "a"})
                served[caller] += 1

        await notes.find_one({"_id": "a"})
        await asyncio.gather(*(ask(caller) for caller in range(len(served))))
        # The driver alone serves some half as often as others.
        assert min(served) >= 17
