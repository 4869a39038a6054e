"""The gateway as it runs in a pod: ready, drained, ended; and what monitoring may see of it."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import pytest

from dev.ports import free_port
from dev.project import PYTHONPATH
from gateway.settings import SERVICES, GatewaySettings
from tests.e2e.collector import collecting
from tests.integration.gateway_envoy import ROOT, until_ready
from tests.integration.gateway_stage import Stage, bearer

UNANSWERED = (
    'envoy_vhost_vcluster_upstream_rq_xx{envoy_response_code_class="5",envoy_virtual_cluster="performances"'
)
STREAM = {"routine_type": "cards", "value": "whole"}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as playing:
        yield playing


@asynccontextmanager
async def gateway_process(
    stage: Stage, metrics_port: int = 0, otlp: str = "", **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    port = free_port()
    with TemporaryDirectory(prefix="nv-", dir="/tmp") as name:
        settings = GatewaySettings(
            upstreams=dict.fromkeys(SERVICES, f"127.0.0.1:{stage.port}"),
            admin_socket=f"{name}/admin",
            listen_host="127.0.0.1",
            listen_port=port,
            descriptors=str(ROOT / "gen/edge.pb"),
            access_log=f"{name}/access.log",
            metrics_port=metrics_port,
            otlp=otlp,
        )
        given = asdict(settings)
        # As in a pod, where a component adds a file.
        (Path(name) / "telemetry.json").write_text(json.dumps({"otlp": given.pop("otlp")}))
        (Path(name) / "gateway.json").write_text(json.dumps(given))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "--settings", name, "--notice-seconds", "0.2"),
            env={**PYTHONPATH, **environment},
            cwd=ROOT,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
                await _until_up(http)
                yield process, http
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _until_up(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await http.get("/livez")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    await until_ready(http)


async def test_a_stream_under_way_ends_whole_when_the_gateway_is_told_to_stop(stage: Stage) -> None:
    async with gateway_process(stage) as (process, http):
        headers = bearer()
        async with http.stream("POST", "/v1/perform:stream", json=STREAM, headers=headers) as answer:
            heard = aiter(answer.aiter_bytes())
            first = await anext(heard)
            process.send_signal(signal.SIGTERM)
            await _until_not_ready(http)
            stage.perform.go_on.set()
            rest = b"".join([chunk async for chunk in heard])
        assert first + rest == b"firstsecond"
        assert await asyncio.wait_for(process.wait(), 15) == 0


async def test_monitoring_sees_metrics_and_nothing_else_of_the_admin_interface(stage: Stage) -> None:
    metrics = free_port()
    async with (
        gateway_process(stage, metrics),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{metrics}") as http,
    ):
        answer = await http.get("/stats/prometheus")
        assert answer.status_code == 200
        assert "envoy_cluster_upstream_rq_total" in answer.text
        for method, path in (
            ("POST", "/quitquitquit"),
            ("GET", "/config_dump"),
            ("POST", "/stats/prometheus"),
        ):
            assert (await http.request(method, path)).status_code == 404


async def test_traces_say_which_gateway_and_route_they_are_of_and_name_nobody(stage: Stage) -> None:
    told = "service.instance.id=gateway-1,service.version=1.2%2B3"
    async with (
        collecting() as collector,
        gateway_process(stage, otlp=collector.address, OTEL_RESOURCE_ATTRIBUTES=told) as (_, http),
    ):
        trace_id = uuid4().hex
        header = {"traceparent": f"00-{trace_id}-{uuid4().hex[:16]}-01"}
        path = "/v1/recordings/lovelace?email=lovelace@example.com"
        assert (await http.get(path, headers={**bearer(), **header})).status_code == 400
        (seen,) = await collector.whole(trace_id)
    which = {"service.instance.id": "gateway-1", "service.version": "1.2+3"}
    wanted = {"service.name": "gateway", "service.namespace": "newvisions", **which}
    assert wanted.items() <= seen.resource.items()
    tags = {tag.key: tag.value.string_value for tag in seen.span.attributes}
    assert tags["http.route"] == "GET /v1/recordings/{recording_id}"
    assert tags["http.url"].endswith(f":{http.base_url.port}/")
    assert b"lovelace" not in seen.span.SerializeToString()


async def test_performances_that_nobody_was_there_for_are_counted_by_the_gateway() -> None:
    metrics = free_port()
    async with AsyncExitStack() as house, httpx.AsyncClient() as monitoring:
        stage = await house.enter_async_context(Stage().playing())
        async with gateway_process(stage, metrics) as (_, http):
            await house.aclose()
            refused = await http.post("/v1/perform", json=STREAM, headers=bearer())
            assert refused.status_code == 503
            counted = (await monitoring.get(f"http://127.0.0.1:{metrics}/stats/prometheus")).text
    (series,) = [line for line in counted.splitlines() if UNANSWERED in line]
    assert float(series.rpartition(" ")[2]) == 1


async def test_an_envoy_that_dies_takes_the_process_with_it(stage: Stage) -> None:
    async with gateway_process(stage) as (process, _):
        killing = await asyncio.create_subprocess_exec("pkill", "-9", "-P", str(process.pid))
        assert await killing.wait() == 0
        assert await asyncio.wait_for(process.wait(), 10) != 0


async def _until_not_ready(http: httpx.AsyncClient) -> None:
    """The load balancer is told before anything is refused."""
    async with asyncio.timeout(10):
        while (await http.get("/healthz")).status_code == 200:  # noqa: ASYNC110 - it tells only when asked
            await asyncio.sleep(0.02)
