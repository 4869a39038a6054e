"""What a pod may do, what it is told in secret, and what others see of it."""

import pytest

from dev.services import SERVICES
from gateway.routes import read_routes
from tests.unit.k8s import (
    ROOT,
    VARIANTS,
    Manifest,
    Rendered,
    containers,
    gateway_settings,
    has,
    pod,
    pod_labels,
    rendered,
)

pytestmark = pytest.mark.parametrize("variant", VARIANTS)
SECURITY = "pod-security.kubernetes.io"


@pytest.fixture
def cluster(variant: str) -> Rendered:
    return rendered(variant)


def test_everything_is_in_the_namespace_that_restricts_its_pods(cluster: Rendered) -> None:
    (namespace,) = cluster.of("Namespace")
    labels = namespace["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"{SECURITY}/{mode}"] == "restricted"
        # "latest" would be another rule after each upgrade of the cluster.
        assert labels[f"{SECURITY}/{mode}-version"].startswith("v1.")
    wide = {"Namespace", "PriorityClass"}
    assert {
        found["metadata"].get("namespace") for found in cluster.manifests if found["kind"] not in wide
    } == {namespace["metadata"]["name"]}


def test_each_pod_has_an_account_of_its_own_without_a_token(cluster: Rendered) -> None:
    accounts = {found["metadata"]["name"]: found for found in cluster.of("ServiceAccount")}
    assert accounts.keys() == {"gateway", *SERVICES}
    for deployment in cluster.of("Deployment"):
        assert pod(deployment)["serviceAccountName"] == deployment["metadata"]["name"]
        assert pod(deployment)["enableServiceLinks"] is False
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())


def test_secrets_are_files_of_the_own_service_and_in_no_environment(cluster: Rendered) -> None:
    for workload in [*cluster.of("Deployment"), *cluster.jobs]:
        name = workload["metadata"]["name"].removeprefix("migrate-")
        for container in containers(workload):
            assert all("secretRef" not in source for source in container.get("envFrom", []))
            assert all("secretKeyRef" not in each.get("valueFrom", {}) for each in container.get("env", []))
        held = {volume["secret"]["secretName"] for volume in pod(workload)["volumes"] if "secret" in volume}
        assert held <= {name, f"{name}-tls"}
    assert not cluster.of("Secret")


def test_what_is_secret_is_in_no_configuration(cluster: Rendered) -> None:
    for found in cluster.of("ConfigMap"):
        for setting, value in found["data"].items():
            assert not setting.endswith(("_MONGO_URL", "_VALKEY_URL"))
            if setting.endswith(("_KEY", "_PASSWORD", "_TOKEN", "_KEY_FILE")):
                assert value.startswith("/run/secrets/newvisions/")


def test_calls_between_services_are_told_to_be_grpc(cluster: Rendered) -> None:
    for name in SERVICES:
        (port,) = cluster.named("Service", name)["spec"]["ports"]
        assert port["appProtocol"] == "kubernetes.io/h2c"
    (port,) = cluster.named("Service", "gateway")["spec"]["ports"]
    assert port["appProtocol"] == "http"


def test_contracts_are_not_told_to_whoever_asks(variant: str) -> None:
    code = "".join(
        file.read_text() for folder in ("services", "gateway") for file in (ROOT / folder).rglob("*.py")
    )
    assert "grpc_reflection" not in code
    assert not [route for route in read_routes(ROOT / "gen/edge.pb") if "reflection" in route.rpc.lower()]


def test_each_process_is_watched_and_nothing_of_that_is_reached_through_the_gateway(
    cluster: Rendered, variant: str
) -> None:
    watched = [name for monitor in cluster.of("PodMonitor") for name in _watched(cluster, monitor["spec"])]
    assert sorted(watched) == ([] if variant == "dev" else sorted(["gateway", *SERVICES]))
    for deployment in cluster.of("Deployment"):
        named = {port["name"]: port["containerPort"] for port in containers(deployment)[0]["ports"]}
        assert named["metrics"] == 9100
    for service in cluster.of("Service"):
        assert all(port["port"] != 9100 for port in service["spec"]["ports"])


def _watched(cluster: Rendered, monitor: Manifest) -> list[str]:
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == "metrics"
    labels = dict(monitor["selector"].get("matchLabels", {}))
    for expression in monitor["selector"].get("matchExpressions", []):
        (labels[expression["key"]],) = expression["values"]
    found = cluster.selected(labels)
    assert endpoint["path"] == ("/stats/prometheus" if found == ["gateway"] else "/metrics")
    return found


def test_traces_say_which_pod_of_which_release_they_are_of(cluster: Rendered, variant: str) -> None:
    collector = gateway_settings(cluster).otlp
    assert bool(collector) == has(variant, "tracing")
    for name in [*SERVICES, *(["gateway"] if collector else [])]:
        deployment = cluster.named("Deployment", name)
        told = {variable["name"]: variable for variable in containers(deployment)[0]["env"]}
        paths = {
            key: each["valueFrom"]["fieldRef"]["fieldPath"]
            for key, each in told.items()
            if "valueFrom" in each
        }
        assert paths["POD_NAME"] == "metadata.name"
        assert paths["POD_VERSION"] == "metadata.labels['app.kubernetes.io/version']"
        assert "app.kubernetes.io/version" in pod_labels(deployment)
        attributes = dict(pair.split("=") for pair in told["OTEL_RESOURCE_ATTRIBUTES"]["value"].split(","))
        assert attributes["service.instance.id"] == "$(POD_NAME)"
        assert attributes["service.version"] == "$(POD_VERSION)"
        if name != "gateway":
            endpoint = told.get("OTEL_EXPORTER_OTLP_ENDPOINT", {"value": ""})["value"]
            assert endpoint.removeprefix("http://") == collector


def test_a_gateway_with_certificates_calls_with_them(cluster: Rendered, variant: str) -> None:
    secured = gateway_settings(cluster).upstream_tls is not None
    assert secured == has(variant, "mtls")
    for name in SERVICES:
        told = {variable["name"] for variable in containers(cluster.named("Deployment", name))[0]["env"]}
        assert ("TLS_KEY_FILE" in told) == secured
