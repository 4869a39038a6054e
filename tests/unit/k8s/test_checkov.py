"""What checkov thinks of the manifests: nothing but what deploy/.checkov.yaml gives a reason for."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.pinned import pinned
from dev.project import ROOT
from tests.unit.k8s import rendered

pytestmark = pytest.mark.slow

EXCUSED = set(yaml.safe_load((ROOT / "deploy/.checkov.yaml").read_text())["skip-check"])
LOOSE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "loose", "namespace": "newvisions"},
    "spec": {"containers": [{"name": "main", "image": "x:1", "securityContext": {"privileged": True}}]},
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """By file, the checks that some manifest in it fails when none is skipped."""
    folder = tmp_path_factory.mktemp("manifests")
    files = {
        "dev.yaml": rendered("dev").manifests,
        "prod.yaml": rendered("prod with everything").manifests,
        "loose.yaml": [LOOSE],
    }
    for name, manifests in files.items():
        (folder / name).write_text(yaml.safe_dump_all(manifests))
    verdict = _verdict(folder)
    assert verdict["summary"]["passed"] > 1000
    assert verdict["summary"]["parsing_errors"] == 0
    found: dict[str, set[str]] = {name: set() for name in files}
    for failure in verdict["results"]["failed_checks"]:
        found[Path(failure["file_path"]).name].add(failure["check_id"])
    return found


def _verdict(folder: Path) -> dict[str, Any]:
    asked = ("--directory", ".", "--framework", "kubernetes", "--skip-download", "--output", "json")
    command = [str(pinned("checkov")), *asked]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def test_nothing_fails_but_what_has_a_reason_and_every_reason_is_needed(failed) -> None:
    assert failed["dev.yaml"] | failed["prod.yaml"] == EXCUSED


def test_a_pod_that_may_do_anything_is_noticed(failed) -> None:
    assert "CKV_K8S_16" in failed["loose.yaml"] - EXCUSED
