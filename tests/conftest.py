"""Real servers for every test that needs one; each worker of a parallel run has its own."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from dev import embedded
from dev.ports import free_port
from dev.process import Process

ROOT = Path(__file__).parent.parent


class ByWhatTheyShare(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share a stack run on the same worker, and so do those of one file."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        shared = re.search(r"\[(one|many)\b", test) if file.startswith("tests/e2e/") else None
        return f"the stack of {shared[1]}" if shared else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByWhatTheyShare(config, log)


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
