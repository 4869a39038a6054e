"""What is in an image, and what is not; the same commit gives the same layers, and the list of it is true."""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dev.images import IMAGES, reference
from dev.images.base import Target
from dev.images.bom import bom, mounted
from dev.images.building import archive, build, layers
from dev.images.wheels import normal, pins
from tests.unit.k8s import ROOT

pytestmark = pytest.mark.timeout(900)
AGAIN = "localhost/newvisions/again:dev"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_code_of_its_own_service_only(image: str) -> None:
    with mounted(reference(image)) as root:
        code = root / "opt/newvisions"
        held = {str(path.relative_to(code)) for path in code.glob("*")}
        if image == "gateway":
            assert held == {"gateway", "gen"}
            return
        assert held == {"services", "gen"}
        assert {path.name for path in (code / "services").iterdir() if path.name != "__pycache__"} == {
            *("__init__.py", "serve.py", "migrate.py", "kernel", image)
        }
        here = {path.relative_to(ROOT / "services") for path in (ROOT / f"services/{image}").rglob("*.py")}
        there = {path.relative_to(code / "services") for path in (code / f"services/{image}").rglob("*.py")}
        assert here == there


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_no_installer_and_nothing_that_its_user_may_change(image: str) -> None:
    with mounted(reference(image)) as root:
        assert not list((root / "opt").rglob("pip"))
        assert not (root / "build").exists()
        for path in (root / "opt").rglob("*"):
            status = path.lstat()
            assert (status.st_uid, status.st_gid) == (0, 0)
            assert path.is_symlink() or status.st_mode & 0o022 == 0, path


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_what_the_lock_file_says_and_the_list_of_it_is_true(
    image: str, target: Target
) -> None:
    listed = bom(image, target)
    wanted = pins(image, target)
    python = {
        normal(found["name"]): found
        for found in listed["components"]
        if found["purl"].startswith("pkg:pypi/")
    }
    assert {name: found["version"] for name, found in python.items()} == {
        name: pin.version for name, pin in wanted.items()
    }
    for name, found in python.items():
        (hash_,) = found["hashes"]
        assert hash_["content"] in wanted[name].hashes
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert listed["metadata"]["component"]["name"] == f"newvisions/{image}"
    assert {"python3.11", "libc6", "ca-certificates"} <= {found["name"] for found in listed["components"]}


@pytest.mark.parametrize("image", ["auth", "gateway"])
def test_the_same_commit_gives_the_same_layers_again(image: str) -> None:
    build(image, name=AGAIN, afresh=True)
    assert layers(AGAIN) == layers(reference(image))


def test_an_archive_is_an_oci_layout_that_says_what_the_list_says(tmp_path: Path) -> None:
    archive("content", tmp_path / "content.oci.tar")
    assert _configuration(tmp_path / "content.oci.tar")["rootfs"]["diff_ids"] == layers(reference("content"))


def _configuration(file: Path) -> Mapping[str, Any]:
    with tarfile.open(file) as tar:

        def read(path: str) -> Mapping[str, Any]:
            member = tar.extractfile(path)
            assert member is not None
            return dict(json.loads(member.read()))

        def blob(name: str) -> Mapping[str, Any]:
            return read(f"blobs/{name.replace(':', '/')}")

        (manifest,) = read("index.json")["manifests"]
        return blob(blob(manifest["digest"])["config"]["digest"])
