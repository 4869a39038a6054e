"""What a real API server, a node or a rollout would stumble over, and no schema tells."""

import re
from importlib import import_module

import pytest
from pydantic_settings import BaseSettings

from dev.services import SERVICES, STORES
from gateway.routes import read_routes
from newvisions.edge.v1 import edge_pb2
from services.kernel import tracing
from services.kernel.schema import SchemaSettings
from services.kernel.server import ServerSettings
from services.kernel.settings import SECRETS_DIR
from services.kernel.tls import TlsSettings
from tests.unit.k8s import ROOT, VARIANTS, Manifest, Rendered, containers, pod, pod_labels, rendered

pytestmark = pytest.mark.parametrize("variant", VARIANTS)
# What the platform and the telemetry library read, and none of our settings classes.
FOREIGN = {
    "POD_NAME",
    "POD_NAMESPACE",
    "POD_VERSION",
    "OTEL_RESOURCE_ATTRIBUTES",
    tracing.ENDPOINT,
    SECRETS_DIR,
}
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@pytest.fixture
def cluster(variant: str) -> Rendered:
    return rendered(variant)


def test_every_selector_finds_just_the_workload_that_it_means(cluster: Rendered) -> None:
    for workload in cluster.workloads:
        name = workload["metadata"]["name"]
        assert cluster.selected(workload["spec"]["selector"]["matchLabels"]) == [name]
        for constraint in pod(workload).get("topologySpreadConstraints", []):
            assert cluster.selected(constraint["labelSelector"]["matchLabels"]) == [name]
    for service in cluster.of("Service"):
        assert cluster.selected(service["spec"]["selector"]) == [service["metadata"]["name"]]
    for budget in cluster.of("PodDisruptionBudget"):
        assert cluster.selected(budget["spec"]["selector"]["matchLabels"]) == [budget["metadata"]["name"]]
        assert len({"minAvailable", "maxUnavailable"} & budget["spec"].keys()) == 1


def test_every_deployment_is_kept_up_during_evictions_and_scaled_by_one_thing(cluster: Rendered) -> None:
    scaled = [scaler["spec"]["scaleTargetRef"]["name"] for scaler in _scalers(cluster)]
    budgets = {budget["metadata"]["name"] for budget in cluster.of("PodDisruptionBudget")}
    for deployment in cluster.of("Deployment"):
        name = deployment["metadata"]["name"]
        assert scaled.count(name) == 1
        assert name in budgets
        # Who is scaled by something else must not be set back by each deployment.
        assert "replicas" not in deployment["spec"]
    for scaler in _scalers(cluster):
        spec = scaler["spec"]
        least, most = (
            (
                spec.get(f"min{word}", spec.get(f"min{word}Count"))
                for word in ("Replicas", "Replica")
                if f"min{word}" in spec or f"min{word}Count" in spec
            ),
            spec.get("maxReplicas", spec.get("maxReplicaCount")),
        )
        assert next(iter(least)) <= most


def _scalers(cluster: Rendered) -> list[Manifest]:
    return cluster.of("HorizontalPodAutoscaler", "ScaledObject")


def test_ports_have_names_that_fit_and_are_the_ones_that_others_use(cluster: Rendered) -> None:
    for workload in cluster.workloads:
        for container in containers(workload):
            named = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert all(len(name) <= 15 for name in named)
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                for port in _probed(container.get(probe, {})):
                    assert port in named or port in named.values()
    for service in cluster.of("Service"):
        workload = next(w for w in cluster.workloads if w["metadata"]["name"] == service["metadata"]["name"])
        named = {port["name"]: port["containerPort"] for port in containers(workload)[0]["ports"]}
        for port in service["spec"]["ports"]:
            target = port["targetPort"]
            assert target in named or target in named.values()
            if service["spec"].get("clusterIP") == "None":
                # Its name resolves to pods, so who calls it must call the pods' own port.
                assert port["port"] == target


def _probed(probe: Manifest) -> list[str | int]:
    return [probe[way]["port"] for way in ("grpc", "httpGet", "tcpSocket") if way in probe]


def test_every_mount_has_its_volume_and_every_volume_a_source_that_is_there(cluster: Rendered) -> None:
    claims = {claim["metadata"]["name"] for claim in cluster.of("PersistentVolumeClaim")}
    maps = {found["metadata"]["name"] for found in cluster.of("ConfigMap")}
    for workload in [*cluster.workloads, *cluster.jobs]:
        made = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"]: volume for volume in pod(workload).get("volumes", [])}
        mounted = {mount["name"] for container in containers(workload) for mount in container["volumeMounts"]}
        assert mounted == volumes.keys() | made
        for volume in volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"]


def test_pods_are_restricted_and_their_memory_is_bounded(cluster: Rendered) -> None:
    for workload in [*cluster.workloads, *cluster.jobs]:
        own = pod(workload)
        assert own["automountServiceAccountToken"] is False
        assert own["securityContext"]["runAsNonRoot"] is True
        assert own["securityContext"]["runAsUser"] > 0
        assert own["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            security = container["securityContext"]
            # A number that no user of a node has; the databases of the development overlay know theirs.
            assert own["securityContext"]["runAsUser"] >= 10_000 or workload["kind"] == "StatefulSet"
            assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
            assert security["capabilities"] == {"drop": ["ALL"]}
            asked, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert _bytes(asked["memory"]) <= _bytes(limits["memory"])
            assert re.fullmatch(r"\d+m|\d+", asked["cpu"])
            assert "cpu" not in limits


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def test_every_environment_variable_is_a_setting_that_the_service_has(cluster: Rendered) -> None:
    keepers = [(name, cluster.named("Deployment", name)) for name in SERVICES]
    keepers += [(job["metadata"]["name"].removeprefix("migrate-"), job) for job in cluster.jobs]
    for name, keeper in keepers:
        (container,) = containers(keeper)
        given = {variable["name"] for variable in container["env"]}
        for source in container["envFrom"]:
            given |= cluster.named("ConfigMap", source["configMapRef"]["name"])["data"].keys()
        assert given - FOREIGN <= _known(name), name


def _known(service: str) -> set[str]:
    kinds: list[type[BaseSettings]] = [
        import_module(f"services.{service}.settings").Settings,
        ServerSettings,
        TlsSettings,
    ]
    if "mongo" in STORES.get(service, ()):
        kinds.append(SchemaSettings)
    if service == "synthesis":
        kinds.append(import_module("services.synthesis.engines.elevenlabs").ElevenLabsSettings)
    return {
        f"{kind.model_config.get('env_prefix', '')}{field}".upper()
        for kind in kinds
        for field in kind.model_fields
    }


def test_a_pod_has_time_to_end_what_it_began(cluster: Rendered) -> None:
    # What operators ask for may be cut off: it is safe to repeat.
    longest = max(
        route.deadline_seconds
        for route in read_routes(ROOT / "gen/edge.pb")
        if route.access is not edge_pb2.ACCESS_ADMIN
    )
    for deployment in cluster.of("Deployment"):
        (container,) = containers(deployment)
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        given = pod(deployment)["terminationGracePeriodSeconds"]
        if deployment["metadata"]["name"] == "gateway":
            told = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
            notice, drain = float(told["--notice-seconds"]), float(told["--drain-seconds"])
            behind = 5.0
        else:
            told = {variable["name"]: variable.get("value", "") for variable in container["env"]}
            notice, drain = float(told["SERVER_DRAIN_SECONDS"]), float(told["SERVER_STOP_GRACE_SECONDS"])
            # PERFORM_STOP_SECONDS, five to undo what was cancelled then, and five to close what is open.
            behind = 20.0
        assert before + notice + drain + behind <= given
        streams = deployment["metadata"]["name"] in {"gateway", "perform"}
        assert drain >= (longest if streams else 0)


def test_rollouts_add_before_they_remove(cluster: Rendered) -> None:
    for deployment in cluster.of("Deployment"):
        strategy = deployment["spec"]["strategy"]
        if strategy["type"] == "Recreate":
            # Its volume can be in one pod only.
            assert any("persistentVolumeClaim" in volume for volume in pod(deployment)["volumes"])
            continue
        assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_pod_is_alive_without_its_databases_and_ready_only_with_them(cluster: Rendered) -> None:
    for name in SERVICES:
        (container,) = containers(cluster.named("Deployment", name))
        assert container["livenessProbe"]["grpc"]["service"] == "liveness"
        assert container["readinessProbe"]["grpc"]["service"] == "readiness"
        assert pod_labels(cluster.named("Deployment", name))["newvisions.io/speaks"] == "grpc"
