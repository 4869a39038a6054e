"""What alerts and dashboards ask for is exported by a stack that runs, with the labels they want."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from dev.performer import Performer, accepted
from dev.ports import free_port
from dev.services import Provider
from dev.simulator.serving import spec
from dev.stack import Stack
from tests import samples
from tests.e2e.conftest import GENEROUS
from tests.queries import OF_PROMETHEUS, OF_THE_TARGET, ROOT, declared, exported, readings

pytestmark = pytest.mark.slow
RULES = ROOT / "deploy/k8s/components/monitoring/rules.yaml"
DASHBOARDS = ROOT / "deploy/observability/dashboards"
SCALERS = ROOT / "deploy/k8s/components/keda"
MEMO = {"routine_type": "cards", "value": "Seven of Hearts"}


@pytest.fixture(scope="module")
async def scraped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, frozenset[str]]:
    """Of all processes together, after an evening with a provider: what worked, and what did not."""
    data = tmp_path_factory.mktemp("stack")
    key, port = data / "key", free_port()
    key.write_text("any key will do")
    provider = Provider(f"http://127.0.0.1:{port}", key, spec(port, "--faults", "0"))
    stack = Stack(data, processes="many", engine="tone", limits=GENEROUS, provider=provider)
    async with stack:
        (code,) = await stack.activation_codes(1)
        async with Performer.signed_up(stack.url, code) as performer:
            too_early = await performer.http.post("/v1/perform", json=MEMO)
            assert too_early.status_code == 409
            accepted(await performer.upload(samples.speech()))
            accepted(await performer.http.post("/v1/perform", json=MEMO))
            streamed = await performer.http.post("/v1/perform:stream", json=MEMO)
            assert streamed.status_code == 200
        return await scrape(stack)


async def scrape(stack: Stack) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    async with httpx.AsyncClient() as http:
        for address in stack.metrics.values():
            for name, labels in exported((await http.get(address)).text).items():
                found[name] = found.get(name, frozenset()) | labels
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Each with where it stands."""
    for rule in recorded_and_alerts():
        yield str(rule.get("alert") or rule["record"]), rule["expr"]
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{file.stem}: {panel['title']}", target["expr"]
    for file in sorted(SCALERS.glob("*.yaml")):
        for trigger in yaml.safe_load(file.read_text()).get("spec", {}).get("triggers", ()):
            if trigger["type"] == "prometheus":
                yield f"keda: {file.stem}", trigger["metadata"]["query"]


def recorded_and_alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["spec"]["groups"] for rule in group["rules"]]


def test_every_query_reads_what_a_running_stack_exports(scraped: dict[str, frozenset[str]]) -> None:
    recorded = {rule["record"] for rule in recorded_and_alerts() if "record" in rule}
    missing = []
    for where, query in queries():
        for reading in readings(query):
            if reading.name in recorded | OF_PROMETHEUS:
                continue
            # What has no sample yet has no label yet either.
            known = scraped.get(reading.name, frozenset()) or declared().get(reading.name, frozenset())
            if reading.name not in scraped or reading.labels - known - OF_THE_TARGET:
                missing.append((where, reading))
    assert missing == []


def test_every_metric_of_ours_is_exported_by_some_process(scraped: dict[str, frozenset[str]]) -> None:
    assert declared().keys() <= scraped.keys()
    for name, labels in scraped.items():
        if name in declared():
            assert labels in {frozenset(), declared()[name]}


def test_a_performance_leaves_its_figures_in_every_service(scraped: dict[str, frozenset[str]]) -> None:
    met = {name for name, labels in scraped.items() if labels}
    assert met >= {
        *("rpc_seconds_count", "rpc_client_seconds_count", "perform_outcomes_total"),
        *("auth_reservations_total", "voice_provider_seconds_count", "voice_leases_total"),
        *("content_compose_seconds_count", "synthesis_first_audio_seconds_count", "synthesis_spoken_total"),
        *(
            "perform_step_seconds_count",
            "perform_first_audio_seconds_bucket",
            "synthesis_engine_seconds_count",
        ),
        *("synthesis_gate_wait_seconds_count", "server_dependency_up"),
    }


async def test_each_process_tells_its_metrics_on_this_machine_alone(stack: Stack) -> None:
    async with httpx.AsyncClient() as http:
        for name, address in stack.metrics.items():
            assert address.startswith("http://127.0.0.1:")
            family = "envoy_server_live" if name == "gateway" else "server_loop_lag_seconds_count"
            assert family in (await http.get(address)).text
