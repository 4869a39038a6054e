"""The environment may name an HTTP proxy; what runs on this machine is asked without it."""

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dev.doctor.findings import State
from dev.doctor.network import check_gateway, check_service
from dev.gateway import lets_in
from dev.performer import Performer, Refused
from dev.ports import free_port
from dev.services import serves
from dev.simulator.options import Options
from dev.simulator.serving import running
from services.kernel.client import Channels
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage


@pytest.fixture
async def service() -> AsyncIterator[str]:
    """The address of one that is ready."""
    server, checks = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("readiness", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(grace=None)


def name_a_proxy_that_is_not_there(environment: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        environment.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        environment.setenv(name, f"http://127.0.0.1:{free_port()}")


async def test_services_reach_one_another(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name_a_proxy_that_is_not_there(monkeypatch)
    channels = Channels({}, frozenset())
    try:
        stub = health_pb2_grpc.HealthStub(channels.to("voice", service))
        reply = await stub.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=5)
    finally:
        await channels.close()
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stack_and_the_doctor_see_that_a_service_is_ready(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_a_proxy_that_is_not_there(monkeypatch)
    assert await serves(service)
    (found,) = await check_service("voice", service, None)
    assert found.state is State.OK


async def test_a_stack_and_the_doctor_see_that_the_gateway_lets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Stage().playing() as stage, gateway(stage) as http:
        await until_ready(http)
        name_a_proxy_that_is_not_there(monkeypatch)
        assert http.base_url.port is not None
        assert await lets_in(http.base_url.port)
        (found,) = await check_gateway(str(http.base_url), "newvisions")
        assert found.state is State.OK


async def test_a_performer_and_whoever_looks_at_the_simulator_reach_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_a_proxy_that_is_not_there(monkeypatch)
    async with running(Options()) as simulator:
        assert await simulator.audit()
        # It is no gateway, and says so itself.
        with pytest.raises(Refused, match="was answered 404"):
            async with Performer.signed_up(simulator.url, "a code"):
                pass
