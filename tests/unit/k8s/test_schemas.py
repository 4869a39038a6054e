"""Every manifest is what its schema says, in the oldest Kubernetes that we support and in the newest."""

import re
from typing import Any, Literal

import kubernetes_validate
import pytest
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule
from pydantic import BaseModel, ValidationError

from tests.unit.k8s import VARIANTS, Manifest, rendered

pytestmark = pytest.mark.slow

OLDEST, NEWEST = "1.32", "1.37"


class Fallback(keda.Fallback):
    """With what KEDA 2.17 added to it: for Python before 3.14 there are older schemas only."""

    behavior: Literal["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"] = (
        "static"
    )


class ScaledObjectSpec(keda.ScaledObjectSpec):
    fallback: Fallback | None = None


class ScaledObject(keda.ScaledObject):
    spec: ScaledObjectSpec


CUSTOM: dict[str, type[BaseModel]] = {
    "PodMonitor": PodMonitor,
    "PrometheusRule": PrometheusRule,
    "ScaledObject": ScaledObject,
}
# No package has cert-manager's schemas: what we use of them is written down here.
CERT_MANAGER = {
    "Certificate": {
        *("commonName", "dnsNames", "duration", "isCA", "issuerRef", "privateKey", "renewBefore"),
        *("secretName", "usages"),
    },
    "Issuer": {"ca", "selfSigned"},
}


def fault_of(manifest: Manifest, version: str) -> str:
    """Empty when there is none; a kind that nobody has a schema of is a fault too."""
    kind = manifest["kind"]
    if kind in CUSTOM:
        return _custom(manifest, CUSTOM[kind])
    if manifest["apiVersion"] == "cert-manager.io/v1" and kind in CERT_MANAGER:
        return ", ".join(manifest["spec"].keys() - CERT_MANAGER[kind])
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        # One of them has nothing to say.
        return f"{type(error).__name__} {error}"
    return ""


def _custom(manifest: Manifest, kind: type[BaseModel]) -> str:
    try:
        read = kind.model_validate(manifest)
    except ValidationError as error:
        return str(error)
    return ", ".join(_unread(manifest["spec"], read.model_dump(by_alias=True)["spec"], "spec"))


def _unread(written: Any, read: Any, where: str) -> list[str]:
    """Fields that the model did not know, and dropped."""
    if isinstance(written, dict):
        if read is None:
            return [where]
        return [
            fault
            for name, value in written.items()
            for fault in (
                _unread(value, read[name], f"{where}.{name}") if name in read else [f"{where}.{name}"]
            )
        ]
    if isinstance(written, list):
        return [fault for old, new in zip(written, read, strict=True) for fault in _unread(old, new, where)]
    return []


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_keeps_its_schema(variant: str, version: str) -> None:
    faults = {
        f"{manifest['kind']} {manifest['metadata']['name']}": fault
        for manifest in rendered(variant).manifests
        if (fault := fault_of(manifest, version))
    }
    assert faults == {}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "spec.template.spec.readinesProbe", {}),
        ("Deployment", "apiVersion", "extensions/v1beta1"),
        ("HorizontalPodAutoscaler", "spec.minReplica", 2),
        ("PodMonitor", "spec.podMetricsEndpoint", []),
        ("ScaledObject", "spec.trigger", []),
        ("ScaledObject", "spec.fallback.behaviour", "static"),
        ("ScaledObject", "spec.fallback.behavior", "currentReplicasIfHighest"),
        ("Certificate", "spec.dnsName", "auth"),
    ],
)
def test_a_misspelt_field_and_a_removed_api_are_noticed(kind: str, path: str, value: Any) -> None:
    manifest = rendered("prod with everything").of(kind)[0]
    assert fault_of(_changed(manifest, path.split("."), value), OLDEST)


def _changed(part: Manifest, path: list[str], value: Any) -> Manifest:
    if len(path) == 1:
        return {**part, path[0]: value}
    return {**part, path[0]: _changed(part[path[0]], path[1:], value)}


def test_images_are_pinned() -> None:
    for variant in VARIANTS:
        for workload in rendered(variant).workloads:
            for container in workload["spec"]["template"]["spec"]["containers"]:
                assert re.search(r"(:(?!latest)[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"])
