"""The map of the code holds: see the import contracts in pyproject.toml."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from services.serve import SERVICES

ROOT = Path(__file__).parents[2]


def contracts() -> list[dict[str, Any]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(project["tool"]["importlinter"]["contracts"])


def test_imports_point_inward_and_services_meet_in_the_contracts_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(cache_dir=None) == EXIT_STATUS_SUCCESS


def test_every_service_has_its_place_in_the_rules() -> None:
    layered = {contract["containers"][0] for contract in contracts() if contract["type"] == "layers"}
    (independent,) = [contract["modules"] for contract in contracts() if contract["type"] == "independence"]
    assert layered == set(independent) == {f"services.{name}" for name in SERVICES}
