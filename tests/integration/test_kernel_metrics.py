"""What a call leaves in the metrics of both its ends, in one process or in two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from newvisions.synthesis.v1 import synthesis_service_pb2_grpc as synthesis_grpc
from services.kernel.client import Channels, peer
from services.kernel.errors import ServiceError
from services.kernel.server import Handlers
from tests.integration.kernel_stage import Actor, enrol, heard, speak


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


ENROL, SYNTHESIZE = (
    f"newvisions.synthesis.v1.SynthesisService.{name}" for name in ("EnrolVoice", "Synthesize")
)


@pytest.fixture(params=["in process", "socket"])
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """As services ask a peer, which is in the same process or in another."""
    handlers = Handlers()
    synthesis_grpc.add_SynthesisServiceServicer_to_server(Actor(), handlers)  # type: ignore[no-untyped-call]
    server = grpc.aio.server()
    handlers.attach_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    local = frozenset({"synthesis"}) if request.param == "in process" else frozenset[str]()
    channels = Channels(handlers, local)
    yield synthesis_grpc.SynthesisServiceStub(channels.to("synthesis", f"127.0.0.1:{port}"))  # type: ignore[no-untyped-call]
    await channels.close()
    await server.stop(grace=None)


@pytest.mark.parametrize(
    ("what", "code"), [("answer", "OK"), ("busy", "UNAVAILABLE"), ("wait", "DEADLINE_EXCEEDED")]
)
async def test_a_call_is_counted_by_its_outcome_where_it_is_served_and_where_it_was_asked_for(
    asked: Any, what: str, code: str
) -> None:
    labels = {"method": ENROL, "code": code}
    here, there = (counted(f"{side}_seconds_count", **labels) for side in ("rpc_client", "rpc"))
    with suppress(ServiceError), peer("synthesis"):
        await asked.EnrolVoice(enrol(what), timeout=0.2 if what == "wait" else 5)
    assert counted("rpc_client_seconds_count", **labels) == here + 1
    async with asyncio.timeout(5):
        while counted("rpc_seconds_count", **labels) == there:  # noqa: ASYNC110 - a metric sends no events
            await asyncio.sleep(0.01)
    assert counted("rpc_seconds_count", **labels) == there + 1


async def test_a_stream_that_is_asked_for_is_counted_once_when_it_ends(asked: Any) -> None:
    before = counted("rpc_client_seconds_count", method=SYNTHESIZE, code="OK")
    with peer("synthesis"):
        assert await heard(asked.Synthesize(speak(), timeout=5)) == [b"one", b"two"]
    assert counted("rpc_client_seconds_count", method=SYNTHESIZE, code="OK") == before + 1
