"""What checkov thinks of the manifests: nothing but what deploy/.checkov.yaml gives a reason for."""

import json
import subprocess
from pathlib import Path

import yaml

from dev.pinned import pinned
from dev.project import ROOT
from tests.unit.k8s import rendered

CONFIGURATION = ROOT / "deploy/.checkov.yaml"


def test_nothing_fails_but_what_has_a_reason_and_every_reason_is_needed(tmp_path: Path) -> None:
    found = [_failed(tmp_path, variant) for variant in ("dev", "prod with everything")]
    assert set().union(*found) == set(yaml.safe_load(CONFIGURATION.read_text())["skip-check"])


def _failed(folder: Path, variant: str) -> set[str]:
    """The checks that some manifest fails when none is skipped."""
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all(rendered(variant).manifests))
    command = [str(pinned("checkov")), "--file", "manifests.yaml", "--skip-download", "--output", "json"]
    command += ["--framework", "kubernetes"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    verdict = json.loads(done.stdout)
    assert verdict["summary"]["passed"] > 500
    assert verdict["summary"]["parsing_errors"] == 0
    return {found["check_id"] for found in verdict["results"]["failed_checks"]}


def test_a_pod_that_may_do_anything_is_noticed(tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "loose", "namespace": "newvisions"},
        "spec": {"containers": [{"name": "main", "image": "x:1", "securityContext": {"privileged": True}}]},
    }
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
    command = [
        str(pinned("checkov")),
        "--file",
        "pod.yaml",
        "--skip-download",
        "--config-file",
        str(CONFIGURATION),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CKV_K8S_16" in done.stdout
