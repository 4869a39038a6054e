"""Real servers for every test that needs one; each worker of a parallel run has its own."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from xdist.scheduler import LoadScopeScheduling

from dev import embedded
from dev.ports import free_port
from dev.process import Process
from dev.services import MONGO_ELSEWHERE
from tests import second_server
from tests.mongo_guard import Guard

ROOT = Path(__file__).parent.parent
_GUARD = Guard()


class ByWhatTheyShare(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share a stack or the manifests run on the same worker, and so do those of one file."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file.startswith("tests/unit/k8s/"):
            # Rendered once in a process.
            return "the manifests"
        shared = re.search(r"[\[-](one|many)[\]-]", test) if file.startswith("tests/e2e/") else None
        return f"the stack of {shared[1]}" if shared else file


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rolling", action="store_true", help="also replace a cluster's services under load")
    parser.addoption("--object-store", action="store_true", help="also install and use an object store")
    parser.addoption("--cases", type=int, default=3, help="questions to each operation of the API")
    parser.addoption("--cases-seed", type=int, default=1, help="which ones")


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    for option, cost in (("rolling", "takes two minutes"), ("object-store", "takes 150 MB")):
        if config.getoption(f"--{option}"):
            continue
        left_out = pytest.mark.skip(reason=f"{cost}: ./newvisions test --{option}")
        for item in items:
            if item.get_closest_marker(option.replace("-", "_")):
                item.add_marker(left_out)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByWhatTheyShare(config, log)


_before: set[str] = set()


def pytest_sessionstart(session: pytest.Session) -> None:
    monitoring.register(_GUARD)
    if (url := os.environ.get(MONGO_ELSEWHERE)) and not hasattr(session.config, "workerinput"):
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5000) as client:
            _before.update(client.list_database_names())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The server is there for tests alone: what they made in it goes, and nothing else."""
    if (url := os.environ.get(MONGO_ELSEWHERE)) and not hasattr(session.config, "workerinput"):
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=5000) as client:
            for name in set(client.list_database_names()) - _before - {"admin", "config", "local"}:
                client.drop_database(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out(config, items)
    second_server.mark(items)


@pytest.fixture(scope="session")
async def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A document database that is empty at first. Use ids or a database name that nobody else uses."""
    if elsewhere := os.environ.get(MONGO_ELSEWHERE):
        yield elsewhere
        return
    data, port = tmp_path_factory.mktemp("mongo"), free_port()
    server = await Process.start(embedded.mongo(port, data), data, ROOT)
    yield embedded.mongo_url(port)
    await server.stop()


@pytest.fixture(autouse=True)
def mongo_guard() -> Iterator[Guard]:
    """No test passes that asked the database for what not every server does alike."""
    _GUARD.take()
    yield _GUARD
    found = sorted(set(_GUARD.take()))
    assert not found, f"not on the list of tests/mongo_guard.py: {'; '.join(found)}"


@pytest.fixture(scope="session")
async def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A cache that is empty at first. Use keys that nobody else uses."""
    data, port = tmp_path_factory.mktemp("valkey"), free_port()
    server = await Process.start(embedded.valkey(port, data), data, ROOT)
    yield embedded.valkey_url(port)
    await server.stop()
