"""Calls between processes when each has a certificate: who has none is nobody."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev.ports import free_port
from dev.project import PYTHONPATH, ROOT, python
from gateway.settings import SERVICES, GatewaySettings, Tls
from tests.authority import Authority

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, env={**PYTHONPATH, **environment}, cwd=ROOT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture(scope="module")
async def service(authority: Authority) -> AsyncIterator[tuple[str, str]]:
    """Synthesis, whose certificate has every service's name: its address, and where it tells its health."""
    certificate, key = authority.sign(*SERVICES)
    address, health = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    environment = {
        "SERVER_ADDRESS": address,
        "SERVER_HEALTH_ADDRESS": health,
        "SYNTHESIS_ENGINES": "services.synthesis.engines.tone:ToneEngine",
        "TLS_CERTIFICATE_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "TLS_AUTHORITY_FILE": str(authority.file),
    }
    async with running(*python("services.serve", "synthesis"), **environment):
        async with asyncio.timeout(30), grpc.aio.insecure_channel(health) as channel:
            await channel.channel_ready()
        yield address, health


async def status(channel: grpc.aio.Channel) -> int:
    request = health_pb2.HealthCheckRequest(service="synthesis")
    return int((await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)).status)


def credentials(authority: Authority, identity: tuple[Path, Path] | None) -> grpc.ChannelCredentials:
    certificate, key = (file.read_bytes() for file in identity) if identity else (None, None)
    return grpc.ssl_channel_credentials(authority.file.read_bytes(), key, certificate)


KNOWN_AS = (("grpc.ssl_target_name_override", "synthesis"),)


async def test_a_caller_with_a_certificate_is_answered(
    service: tuple[str, str], authority: Authority
) -> None:
    identity = credentials(authority, authority.sign("perform"))
    async with grpc.aio.secure_channel(service[0], identity, options=KNOWN_AS) as channel:
        assert await status(channel) == health_pb2.HealthCheckResponse.SERVING


async def test_health_is_told_in_clear_on_its_own_port(service: tuple[str, str]) -> None:
    async with grpc.aio.insecure_channel(service[1]) as channel:
        assert await status(channel) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("who", ["in clear", "without a certificate", "with a stranger's certificate"])
async def test_nobody_else_is_answered(
    who: str, service: tuple[str, str], authority: Authority, folder: Path
) -> None:
    stranger = Authority(folder, "stranger").sign("perform-of-a-stranger")
    if who == "in clear":
        channel = grpc.aio.insecure_channel(service[0])
    else:
        identity = credentials(authority, stranger if "stranger" in who else None)
        channel = grpc.aio.secure_channel(service[0], identity, options=KNOWN_AS)
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await status(channel)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_of_another_name_is_not_believed(
    service: tuple[str, str], authority: Authority
) -> None:
    identity = credentials(authority, authority.sign("perform"))
    options = (("grpc.ssl_target_name_override", "somebody-else"),)
    async with grpc.aio.secure_channel(service[0], identity, options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await status(channel)


async def test_the_gateway_speaks_tls_to_both_sides(
    service: tuple[str, str], authority: Authority, folder: Path
) -> None:
    port, (certificate, key) = free_port(), authority.sign("gateway", "localhost")
    settings = GatewaySettings(
        upstreams=dict.fromkeys(SERVICES, service[0]),
        admin_socket=f"/tmp/nv-tls-{port}",
        listen_host="127.0.0.1",
        listen_port=port,
        descriptors=str(ROOT / "gen/edge.pb"),
        access_log=str(folder / "access.log"),
        listener_tls=Tls(str(certificate), str(key)),
        upstream_tls=Tls(str(certificate), str(key), str(authority.file)),
    )
    file = folder / "gateway.json"
    file.write_text(json.dumps(asdict(settings)))
    trust = ssl.create_default_context(cafile=str(authority.file))
    async with (
        running(sys.executable, "-m", "gateway", "--settings", str(file), "--notice-seconds", "0"),
        httpx.AsyncClient(base_url=f"https://localhost:{port}", verify=trust) as http,
        asyncio.timeout(30),
    ):
        while not await answered(http):  # noqa: ASYNC110 - it tells only when asked
            await asyncio.sleep(0.05)
        answer = await http.get("/v1/ambient/fan")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")


async def answered(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/v1/ambient/fan")).status_code == 200
    except httpx.TransportError:
        return False
