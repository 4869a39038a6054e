"""Every service is replaced under load, one after the other, and the gateway last: no request is lost.

Takes two minutes and is left out unless asked for: `./newvisions test --rolling`.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count, cycle

import httpx
import pytest

from dev.performer import Performer, accepted, request
from dev.services import SERVICES
from tests import samples
from tests.chaos.rolling.cluster import Cluster, cluster

pytestmark = [pytest.mark.rolling, pytest.mark.timeout(600)]
PERFORMERS = 3
# Between two requests of one performer.
PAUSE_SECONDS = 0.1


class Evening:
    """Performers who go on performing, whatever is replaced behind the gateway."""

    def __init__(self, running: Cluster) -> None:
        self.outcomes: Counter[str] = Counter()
        self._running = running
        self._values = count(1)

    async def go_on(self, performer: Performer, over: asyncio.Event) -> None:
        headers = {"authorization": performer.http.headers["authorization"]}
        gateways: dict[str, httpx.AsyncClient] = {}
        async with AsyncExitStack() as entered:
            for ask in cycle((self._whole, self._streamed, self._listed, self._settings)):
                if over.is_set():
                    return
                # Each request goes where a load balancer would send it now.
                url = self._running.url
                if url not in gateways:
                    client = httpx.AsyncClient(base_url=url, headers=headers, timeout=30)
                    gateways[url] = await entered.enter_async_context(client)
                self.outcomes[await self._outcome(ask(gateways[url]))] += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def _outcome(self, asked: Awaitable[str]) -> str:
        try:
            return await asked
        except httpx.HTTPError as error:
            return f"{type(error).__name__} {error}"

    async def _whole(self, http: httpx.AsyncClient) -> str:
        answer = await http.post("/v1/perform", json=request(f"number {next(self._values)}", "numbers"))
        return _told("perform", answer)

    async def _streamed(self, http: httpx.AsyncClient) -> str:
        body = request(f"number {next(self._values)}", "numbers")
        async with http.stream("POST", "/v1/perform:stream", json=body) as answer:
            # Raises when it is cut.
            await answer.aread()
        return _told("stream", answer)

    async def _listed(self, http: httpx.AsyncClient) -> str:
        return _told("list", await http.get("/v1/recordings", params={"page_size": 1}))

    async def _settings(self, http: httpx.AsyncClient) -> str:
        return _told("settings", await http.get("/v1/users/me/settings"))


def _told(what: str, answer: httpx.Response) -> str:
    return "good" if answer.is_success else f"{what} {answer.status_code} {answer.text}"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    if sys.platform != "linux":
        pytest.skip("needs more than one loopback address")
    async with cluster(tmp_path_factory.mktemp("rolling")) as opened:
        yield opened


@asynccontextmanager
async def evening(running: Cluster) -> AsyncIterator[Evening]:
    told, over = Evening(running), asyncio.Event()
    async with AsyncExitStack() as entered:
        performers = []
        for code in await running.codes(PERFORMERS):
            performer = await entered.enter_async_context(Performer.signed_up(running.url, code))
            accepted(await performer.upload(samples.speech()))
            performers.append(performer)
        async with asyncio.TaskGroup() as group:
            for performer in performers:
                group.create_task(told.go_on(performer, over))
            try:
                yield told
            finally:
                over.set()


async def test_no_request_is_lost_while_everything_is_replaced(running: Cluster) -> None:
    ends: dict[str, int | None] = {}
    lost: dict[str, Counter[str]] = {}
    async with evening(running) as told:
        for service in SERVICES:
            told.outcomes.clear()
            ends[service] = await running.replace(service)
            lost[service] = Counter({name: n for name, n in told.outcomes.items() if name != "good"})
            assert told.outcomes["good"]
        told.outcomes.clear()
        ends["gateway"] = await running.replace_gateway()
    lost["gateway"] = Counter({name: n for name, n in told.outcomes.items() if name != "good"})
    assert {name: dict(found) for name, found in lost.items() if found} == {}
    assert ends == dict.fromkeys((*SERVICES, "gateway"), 0)
