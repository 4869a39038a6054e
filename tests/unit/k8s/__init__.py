"""The manifests as a cluster would get them, and the questions that no schema answers."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
K8S = ROOT / "deploy/k8s"
# What is rendered: an overlay, and the components that it does not have by itself.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "dev": (),
    "prod": (),
    "prod with keda": ("keda",),
    "prod with mtls": ("mtls",),
    "prod with everything": ("keda", "mtls"),
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

    def selected(self, labels: Mapping[str, str]) -> list[str]:
        """Workloads whose pods carry all of these labels."""
        return [
            workload["metadata"]["name"]
            for workload in self.workloads
            if labels.items() <= pod_labels(workload).items()
        ]


def pod_labels(workload: Manifest) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"]["labels"])


def pod(workload: Manifest) -> Manifest:
    return dict(workload["spec"]["template"]["spec"])


def containers(workload: Manifest) -> list[Manifest]:
    return list(pod(workload)["containers"])


@cache
def rendered(variant: str) -> Rendered:
    overlay = K8S / "overlays" / variant.split(" ", maxsplit=1)[0]
    with TemporaryDirectory() as name:
        folder = overlay
        if VARIANTS[variant]:
            folder = Path(name)
            content = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [_relative(overlay, folder)],
                "components": [_relative(K8S / "components" / part, folder) for part in VARIANTS[variant]],
            }
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return Rendered(tuple(_documents(folder)))


def _relative(path: Path, start: Path) -> str:
    return os.path.relpath(path, start.resolve())


def _documents(folder: Path) -> Iterator[Manifest]:
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    # A warning of kustomize is a mistake of ours.
    assert (done.returncode, done.stderr) == (0, "")
    yield from yaml.safe_load_all(done.stdout)
