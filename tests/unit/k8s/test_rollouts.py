"""What keeps the product up while it is changed, moved or scaled."""

import re
from importlib import import_module
from typing import Any

import pytest
import yaml

from dev.project import ROOT
from dev.services import SERVICES, STORES
from gateway.render import render
from gateway.routes import Route, read_routes
from gateway.settings import GatewaySettings
from services.kernel import client, server
from tests.unit.k8s import VARIANTS, Manifest, Rendered, containers, pod, rendered

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("variant", VARIANTS)]
ZONE, NODE = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


@pytest.fixture
def cluster(variant: str) -> Rendered:
    return rendered(variant)


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    return read_routes(ROOT / "gen/edge.pb")


def test_callers_balance_over_all_pods_and_notice_new_ones(cluster: Rendered, routes: list[Route]) -> None:
    for name in SERVICES:
        assert cluster.named("Service", name)["spec"]["clusterIP"] == "None"
        addresses = {
            value
            for setting, value in cluster.named("ConfigMap", name)["data"].items()
            if setting.endswith("_ADDRESS")
        }
        assert all(address.startswith("dns:///") for address in addresses)
    of_callers: dict[str, Any] = dict(client.CHANNEL_OPTIONS)
    of_servers: dict[str, Any] = dict(server.SERVER_OPTIONS)
    assert of_callers["grpc.lb_policy_name"] == "round_robin"
    assert of_callers["grpc.dns_min_time_between_resolutions_ms"] <= 10_000
    assert 60_000 <= of_servers["grpc.max_connection_age_ms"] <= 300_000
    longest = max(route.deadline_seconds for route in routes)
    assert of_servers["grpc.max_connection_age_grace_ms"] > 1000 * longest


def test_the_gateway_looks_at_pods_often_enough_to_leave_one_in_time(cluster: Rendered) -> None:
    envoy = yaml.safe_load(render(_gateway()))
    for name in SERVICES:
        (upstream,) = [found for found in envoy["static_resources"]["clusters"] if found["name"] == name]
        assert upstream["cluster_type"]["name"] == "envoy.clusters.dns"
        assert upstream["lb_policy"] == "LEAST_REQUEST"
        (check,) = upstream["health_checks"]
        assert check["grpc_health_check"] == {"service_name": name}
        assert check["no_traffic_interval"] == check["interval"] == "1s"
        (container,) = containers(cluster.named("Deployment", name))
        told = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert float(told["SERVER_DRAIN_SECONDS"]) > check["unhealthy_threshold"]


def test_no_message_that_the_gateway_lets_in_is_too_large_for_a_service(
    cluster: Rendered, routes: list[Route]
) -> None:
    assert dict(server.SERVER_OPTIONS)["grpc.max_receive_message_length"] == client.MAX_MESSAGE_BYTES
    assert dict(client.CHANNEL_OPTIONS)["grpc.max_receive_message_length"] == client.MAX_MESSAGE_BYTES
    assert max(route.max_body_kib for route in routes) * 1024 < client.MAX_MESSAGE_BYTES


def _gateway() -> GatewaySettings:
    upstreams = {name: f"{name}:50051" for name in SERVICES}
    return GatewaySettings(upstreams, "/tmp/admin", descriptors=str(ROOT / "gen/edge.pb"))


def test_a_rollout_goes_on_only_while_new_pods_work_and_can_be_taken_back(cluster: Rendered) -> None:
    for deployment in cluster.of("Deployment"):
        assert deployment["spec"]["minReadySeconds"] >= 5
        assert deployment["spec"]["revisionHistoryLimit"] >= 2
        assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"]


def test_evictions_take_one_pod_at_a_time_and_a_broken_one_at_once(cluster: Rendered) -> None:
    for budget in cluster.of("PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_pods_of_one_release_are_spread_over_zones_and_nodes(cluster: Rendered) -> None:
    for deployment in cluster.of("Deployment"):
        spread = {found["topologyKey"]: found for found in pod(deployment)["topologySpreadConstraints"]}
        assert spread.keys() == {ZONE, NODE}
        for constraint in spread.values():
            assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_scaling_down_takes_its_time_and_two_pods_are_the_least(cluster: Rendered, variant: str) -> None:
    for scaler in cluster.of("HorizontalPodAutoscaler"):
        assert _scaling_down(scaler["spec"]) == {"stabilizationWindowSeconds": 300}
        assert variant == "dev" or scaler["spec"]["minReplicas"] >= 2
    for scaler in cluster.of("ScaledObject"):
        # The autoscaler that KEDA makes of it: a pause of KEDA's own only counts before scaling to nothing.
        made = scaler["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
        assert _scaling_down(made) == {"stabilizationWindowSeconds": 300}
        assert scaler["spec"]["minReplicaCount"] >= 2


def test_what_monitoring_does_not_tell_is_not_taken_for_nothing_to_do(cluster: Rendered) -> None:
    for scaler in cluster.of("ScaledObject"):
        spec = scaler["spec"]
        (asked,) = [trigger for trigger in spec["triggers"] if trigger["type"] == "prometheus"]
        assert asked["metadata"]["ignoreNullValues"] == "false"
        # Of others, not every KEDA knows what the fallback's replicas would be.
        assert asked["metricType"] == "AverageValue"
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
        assert spec["minReplicaCount"] < spec["fallback"]["replicas"] < spec["maxReplicaCount"]


def _scaling_down(autoscaler: Manifest) -> dict[str, int]:
    return dict(autoscaler["behavior"]["scaleDown"])


def test_on_a_full_node_the_stage_goes_first(cluster: Rendered) -> None:
    known = {found["metadata"]["name"] for found in cluster.of("PriorityClass")}
    for workload in [*cluster.of("Deployment"), *cluster.jobs]:
        assert pod(workload)["priorityClassName"] in known
        for container in containers(workload):
            # One number, so that no node promises memory that it does not have.
            assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]


def test_the_gateway_is_ready_by_what_its_drain_fails_first(cluster: Rendered) -> None:
    (container,) = containers(cluster.named("Deployment", "gateway"))
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}


def test_probes_ask_in_clear_by_a_number_and_leave_time_to_start(cluster: Rendered, variant: str) -> None:
    for name in SERVICES:
        (container,) = containers(cluster.named("Deployment", name))
        told = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        clear = told["SERVER_HEALTH_ADDRESS"] if "TLS_KEY_FILE" in told else told["SERVER_ADDRESS"]
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            assert container[probe]["grpc"]["port"] == int(clear.rpartition(":")[2])
        start = container["startupProbe"]
        waits = float(told.get("SCHEMA_WAIT_SECONDS", 0))
        assert start["periodSeconds"] * start["failureThreshold"] >= 60 + waits


def test_processes_hear_sigterm_themselves(variant: str) -> None:
    entries = re.findall(r"(?m)^(?:ENTRYPOINT|CMD) (.*)$", (ROOT / "Dockerfile").read_text())
    assert entries
    assert all(re.fullmatch(r'\["[^"]+"(, "[^"]+")*\]', entry) for entry in entries)
    for workload in rendered(variant).of("Deployment"):
        assert all("command" not in container for container in containers(workload))


def test_each_service_that_keeps_documents_has_a_job_for_their_form_or_does_it_itself(
    cluster: Rendered, variant: str
) -> None:
    keepers = {name for name in SERVICES if "mongo" in STORES[name]}
    assert keepers == set(import_module("services.migrate").SERVICES)
    wanted = {f"migrate-{name}" for name in keepers} if cluster.jobs else set()
    assert {job["metadata"]["name"] for job in cluster.jobs} == wanted
    for name in SERVICES:
        (container,) = containers(cluster.named("Deployment", name))
        told = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert told.get("SCHEMA_WHEN_OLDER") == ("wait" if f"migrate-{name}" in wanted else None)


def test_a_job_is_its_service_once_more_and_nobody_calls_it(cluster: Rendered) -> None:
    for job in cluster.jobs:
        service = cluster.named("Deployment", job["metadata"]["name"].removeprefix("migrate-"))
        (own,), (other,) = containers(job), containers(service)
        assert (own["image"], own["envFrom"]) == (other["image"], other["envFrom"])
        assert pod(job)["serviceAccountName"] == pod(service)["serviceAccountName"]
        assert pod(job)["restartPolicy"] == "Never"
        assert job["spec"]["backoffLimit"] * job["spec"]["activeDeadlineSeconds"] > 0
        assert not [found for found in cluster.of("Service") if _selects(found, job)]
        assert not [found for found in cluster.of("PodDisruptionBudget") if _selects(found, job)]


def _selects(selector: Manifest, job: Manifest) -> bool:
    wanted = selector["spec"]["selector"]
    labels = job["spec"]["template"]["metadata"]["labels"]
    return bool(wanted.get("matchLabels", wanted).items() <= labels.items())
