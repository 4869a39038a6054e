"""Whether the gateway lets requests in, and whether the services say that they are ready."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev.doctor.findings import Finding, failed, ok, skipped
from services.kernel.client import CHANNEL_OPTIONS
from services.kernel.tls import TlsSettings

_SECONDS: Final = 5.0
# Another machine's gateway may well be behind the proxy that the environment names.
_PAST_A_PROXY: Final = {"all://127.0.0.1": None, "all://localhost": None}
_SERVICES: Final = ("auth", "voice", "content", "synthesis", "perform")


def addresses_of_stack(data: Path) -> tuple[str, dict[str, str]]:
    """The gateway's URL and host:port of each service, as the stack told its Envoy."""
    configuration: dict[str, Any] = yaml.safe_load((data / "gateway.yaml").read_text())["static_resources"]
    edge = next(each for each in configuration["listeners"] if each["name"] == "edge")
    services = {
        cluster["name"]: _host_and_port(
            cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        )
        for cluster in configuration["clusters"]
        if cluster["name"] in _SERVICES
    }
    return f"http://{_host_and_port(edge['address'])}", services


def _host_and_port(address: dict[str, Any]) -> str:
    socket = address["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"


async def check_gateway(url: str, issuer: str) -> Sequence[Finding]:
    if not url:
        return [skipped("gateway", "no address is known; --gateway URL names one")]
    what = f"gateway ({url})"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=_SECONDS, mounts=_PAST_A_PROXY) as http:
            health = await http.get("/healthz")
            # 401 when tokens can be verified, 503 before.
            stranger = await http.get(
                "/v1/users/me", headers={"authorization": f"Bearer {_of_nobody(issuer)}"}
            )
    except httpx.HTTPError as error:
        fix = "start it, or name its address with --gateway"
        return [failed(what, f"it does not answer ({type(error).__name__})", fix)]
    if health.status_code != 200:
        fix = "it is draining, or a service behind it is not ready: see the lines about services"
        return [failed(what, f"its health is {health.status_code}", fix)]
    if stranger.status_code != 401:
        fix = "see whether auth is ready: the gateway takes the public keys from it"
        return [failed(what, f"a stranger's token is answered {stranger.status_code}, not 401", fix)]
    return [ok(what, "healthy, and it can tell good tokens from a stranger's")]


def _of_nobody(issuer: str) -> str:
    key = Ed25519PrivateKey.generate()
    return jwt.encode({"iss": issuer, "sub": "nobody"}, key, algorithm="EdDSA", headers={"kid": "nobody"})


async def check_service(name: str, address: str, tls: TlsSettings | None) -> Sequence[Finding]:
    what = f"service {name} ({address})"
    try:
        async with _channel(address, tls) as channel:
            reply = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="readiness"), timeout=_SECONDS
            )
    except grpc.aio.AioRpcError as error:
        fix = f"start it, or correct the address; then read its log ({error.code().name})"
        return [failed(what, "it does not answer", fix)]
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        fix = "it has lost its database, or is stopping: see the other lines, then its log"
        return [failed(what, "it says that it is not ready", fix)]
    return [ok(what, "ready")]


def _channel(address: str, tls: TlsSettings | None) -> grpc.aio.Channel:
    if tls is None or not tls.on:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(address, tls.for_channels(), options=CHANNEL_OPTIONS)
