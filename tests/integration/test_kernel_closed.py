"""A service as it runs in production says nothing about itself to who reaches its port."""

import asyncio
import os
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from dev.ports import free_port
from dev.project import PYTHONPATH, python

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    address = f"127.0.0.1:{free_port()}"
    engine = {"SYNTHESIS_ENGINES": "services.synthesis.engines.tone:ToneEngine"}
    service = await asyncio.create_subprocess_exec(
        *python("services.synthesis"),
        env={"PATH": os.environ["PATH"], **PYTHONPATH, **engine, "SERVER_ADDRESS": address},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with grpc.aio.insecure_channel(address) as found:
            await asyncio.wait_for(found.channel_ready(), 90)
            yield found
    finally:
        service.terminate()
        await service.wait()


async def test_nobody_learns_the_methods_by_reflection(channel: grpc.aio.Channel) -> None:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(timeout=10)
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
