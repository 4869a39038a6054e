"""The manifests as a cluster would get them, and the questions that no schema answers."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from gateway.settings import GatewaySettings, load_settings

ROOT = Path(__file__).parents[3]
# What is rendered: an overlay, and the components that it does not have by itself.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "dev": (),
    "prod": (),
    "prod with keda": ("keda",),
    "prod with mtls": ("mtls",),
    "prod with migrations": ("migrations",),
    "prod with tracing": ("tracing",),
    "prod with external-data": ("external-data",),
    "prod with everything": ("external-data", "keda", "migrations", "mtls", "tracing"),
}
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    manifests: tuple[Manifest, ...]

    def of(self, *kinds: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def named(self, kind: str, name: str) -> Manifest:
        (found,) = [manifest for manifest in self.of(kind) if manifest["metadata"]["name"] == name]
        return found

    @property
    def workloads(self) -> list[Manifest]:
        return self.of("Deployment", "StatefulSet")

    @property
    def jobs(self) -> list[Manifest]:
        return self.of("Job")

    def selected(self, labels: Mapping[str, str]) -> list[str]:
        """Workloads whose pods carry all of these labels."""
        return [
            workload["metadata"]["name"]
            for workload in [*self.workloads, *self.jobs]
            if labels.items() <= pod_labels(workload).items()
        ]


def has(variant: str, component: str) -> bool:
    return component in VARIANTS[variant]


def gateway_settings(cluster: Rendered) -> GatewaySettings:
    """As the gateway reads them, from the files that its pod has."""
    deployment = cluster.named("Deployment", "gateway")
    (container,) = containers(deployment)
    (volume,) = [found for found in pod(deployment)["volumes"] if found["name"] == "settings"]
    (mount,) = [found for found in container["volumeMounts"] if found["name"] == "settings"]
    assert container["args"][:2] == ["--settings", mount["mountPath"]]
    with TemporaryDirectory() as directory:
        for name, text in cluster.named("ConfigMap", volume["configMap"]["name"])["data"].items():
            (Path(directory) / name).write_text(text)
        return load_settings(Path(directory))


def pod_labels(workload: Manifest) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"]["labels"])


def pod(workload: Manifest) -> Manifest:
    return dict(workload["spec"]["template"]["spec"])


def containers(workload: Manifest) -> list[Manifest]:
    return list(pod(workload)["containers"])


@cache
def rendered(variant: str) -> Rendered:
    """The overlay with the components added to its own list, as deploy/README.md says."""
    components = [f"../../components/{name}" for name in VARIANTS[variant]]
    return overlaid(variant.split(" ", maxsplit=1)[0], {"components": components})


def overlaid(name: str, additions: Mapping[str, list[Any]]) -> Rendered:
    """The overlay with more in its lists."""
    with TemporaryDirectory() as directory:
        # Not of the manifests alone: they take dashboards from beside them.
        copy = Path(directory) / "deploy"
        shutil.copytree(ROOT / "deploy", copy)
        overlay = copy / "k8s/overlays" / name
        file = overlay / "kustomization.yaml"
        content = yaml.safe_load(file.read_text())
        for key, more in additions.items():
            content.setdefault(key, []).extend(more)
        file.write_text(yaml.safe_dump(content))
        return Rendered(tuple(_documents(overlay)))


def _documents(folder: Path) -> Iterator[Manifest]:
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    # A warning of kustomize is a mistake of ours.
    assert (done.returncode, done.stderr) == (0, "")
    yield from yaml.load_all(done.stdout, yaml.CSafeLoader)
