"""The whole stack behind its gateway, as one process and as many; only the speech model is a tone."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from dev.performer import Performer, accepted
from dev.stack import Stack
from gateway.settings import Limits
from tests import samples
from tests.e2e.browser import page_with
from tests.e2e.collector import Collector, collecting

# All tests come from one address; what the limits do is tested where the gateway stands alone.
GENEROUS = Limits(reads=100_000, costly=100_000, guessable=100_000, address=1_000_000)
MONTHLY_LIMIT = 1500
SIGN_UPS = 150


@pytest.fixture(scope="session")
async def collector() -> AsyncIterator[Collector]:
    """Receives the traces of the whole stack."""
    async with collecting() as found:
        yield found


@pytest.fixture(scope="package", params=["one", "many"])
async def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> AsyncIterator[Stack]:
    settings = {
        "AUTH_MONTHLY_LIMIT": str(MONTHLY_LIMIT),
        "SYNTHESIS_ENGINES": "tests.e2e.tortoise:Tortoise",
        "CONTENT_MODELS": "offline",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    data = tmp_path_factory.mktemp(f"stack-{request.param}")
    page = page_with(samples.speech(), Path(__file__).with_name("page"), tmp_path_factory.mktemp("page"))
    running = Stack(
        data,
        processes=request.param,
        engine="tone",
        limits=GENEROUS,
        environment=settings,
        client=page,
    )
    async with running:
        yield running


@pytest.fixture(scope="package")
async def admin(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator's client."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as http:
        http.headers["authorization"] = f"Bearer {await stack.admin_token()}"
        yield http


@pytest.fixture(scope="package")
async def codes(admin: httpx.AsyncClient) -> Iterator[str]:
    """Activation codes nobody used before; take the next one."""
    return iter(await fresh_codes(admin, SIGN_UPS))


async def fresh_codes(admin: httpx.AsyncClient, count: int) -> list[str]:
    """A second quicker than the stack's own way, which is a program."""
    made = await admin.post("/v1/admin/activation-codes", json={"count": count})
    return list(accepted(made)["codes"])


SignUp = Callable[[], Awaitable[Performer]]


@pytest.fixture
async def sign_up(stack: Stack, codes: Iterator[str]) -> AsyncIterator[SignUp]:
    """Makes a signed-in performer without a voice."""
    async with AsyncExitStack() as cleanup:

        async def make() -> Performer:
            return await cleanup.enter_async_context(Performer.signed_up(stack.url, next(codes)))

        yield make


@pytest.fixture
async def performer(sign_up: SignUp) -> Performer:
    return await sign_up()


@pytest.fixture
async def voiced(performer: Performer) -> Performer:
    """A performer whose voice is known."""
    accepted(await performer.upload(samples.speech()))
    return performer


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client that never signed in."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as http:
        yield http
