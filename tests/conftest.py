"""Real servers for every test that needs one; each worker of a parallel run has its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev import embedded
from dev.ports import free_port
from dev.process import Process

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
async def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A document database that is empty at first. Use ids or a database name that nobody else uses."""
    data, port = tmp_path_factory.mktemp("mongo"), free_port()
    server = await Process.start(embedded.mongo(port, data), data, ROOT)
    yield embedded.mongo_url(port)
    await server.stop()


@pytest.fixture(scope="session")
async def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A cache that is empty at first. Use keys that nobody else uses."""
    data, port = tmp_path_factory.mktemp("valkey"), free_port()
    server = await Process.start(embedded.valkey(port, data), data, ROOT)
    yield embedded.valkey_url(port)
    await server.stop()
