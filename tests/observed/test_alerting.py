"""A stack with its real Prometheus and Alertmanager: what is scraped, and who is told when a service dies.

Takes minutes, most of them those that an alert waits before it fires: `./newvisions test --observed`.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import httpx
import pytest

from dev.observing import NotInstalled, installed
from dev.performer import Performer, accepted
from dev.stack import Stack
from tests import samples
from tests.e2e.conftest import GENEROUS

pytestmark = pytest.mark.timeout(900)
EVERY_PROCESS = {"gateway", "auth", "content", "perform", "synthesis", "voice"}
MEMO = {"routine_type": "cards", "value": "Seven of Hearts"}
# Longer than the alert's own two minutes.
TOLD_WITHIN_SECONDS = 300
SCRAPED_WITHIN_SECONDS = 60


class Operators:
    """Whoever alerts are posted to."""

    def __init__(self) -> None:
        self._told: SimpleQueue[dict[str, Any]] = SimpleQueue()
        told = self._told

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                for alert in json.loads(body)["alerts"]:
                    told.put(alert)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/alerts"

    def wait_for(self, status: str, **labels: str) -> dict[str, Any]:
        """The first such alert, however many others come before it. Raises queue.Empty."""
        while True:
            alert = self._told.get(timeout=TOLD_WITHIN_SECONDS)
            if alert["status"] == status and labels.items() <= alert["labels"].items():
                return alert


@pytest.fixture(scope="module")
def operators() -> Iterator[Operators]:
    found = Operators()
    with found.server:
        serving = Thread(target=found.server.serve_forever)
        serving.start()
        yield found
        found.server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
async def watched(
    operators: Operators, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Stack, httpx.AsyncClient]]:
    """A stack, and its Prometheus."""
    try:
        observation = installed(operators.url)
    except NotInstalled as failure:
        pytest.skip(str(failure))
    data = tmp_path_factory.mktemp("watched")
    stack = Stack(data, processes="many", engine="tone", limits=GENEROUS, observation=observation)
    async with stack, httpx.AsyncClient(base_url=observation.urls["prometheus"], timeout=10) as prometheus:
        yield stack, prometheus


async def asked(prometheus: httpx.AsyncClient, query: str) -> dict[str, float]:
    """By process."""
    answer = await prometheus.get("/api/v1/query", params={"query": query})
    found = accepted(answer)["data"]["result"]
    return {each["metric"].get("instance", ""): float(each["value"][1]) for each in found}


async def test_every_process_is_scraped_and_the_promises_are_counted(
    watched: tuple[Stack, httpx.AsyncClient],
) -> None:
    stack, prometheus = watched
    (code,) = await stack.activation_codes(1)
    async with Performer.signed_up(stack.url, code) as performer:
        accepted(await performer.upload(samples.speech()))
        async with asyncio.timeout(SCRAPED_WITHIN_SECONDS):
            while await asked(prometheus, "newvisions:performances_judged:rate5m > 0") == {}:
                # A rate needs two samples, between which something happened.
                accepted(await performer.http.post("/v1/perform", json=MEMO))
                await asyncio.sleep(1)
    assert await asked(prometheus, "up") == dict.fromkeys(EVERY_PROCESS, 1.0)
    assert await asked(prometheus, "newvisions:performances_failed:ratio5m") == {"": 0.0}
    rules = accepted(await prometheus.get("/api/v1/rules"))["data"]["groups"]
    health = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
    assert len(health) > 30
    assert set(health.values()) <= {"ok", "unknown"}


async def test_a_service_that_is_killed_makes_an_alert_reach_its_operators(
    watched: tuple[Stack, httpx.AsyncClient], operators: Operators
) -> None:
    stack, _ = watched
    os.kill(stack.pid("content"), signal.SIGKILL)
    alert = await asyncio.to_thread(operators.wait_for, "firing", alertname="ProcessDown", instance="content")
    assert alert["labels"]["severity"] == "page"
    assert alert["annotations"]["summary"] == "content does not answer monitoring."
    page = Path(__file__).parents[2] / alert["annotations"]["runbook_url"].partition("#")[0]
    assert "## ProcessDown" in page.read_text()
