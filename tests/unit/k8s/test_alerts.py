"""Every alert asks for metrics that exist, has been made to fire, and leads to a page of the runbook."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

from dev.services import SERVICES
from dev.tools import promtool
from tests.unit.k8s import ROOT, rendered

pytestmark = pytest.mark.slow

RUNBOOK = ROOT / "docs/runbook.md"
CASES = ROOT / "deploy/observability/alerts_test.yaml"
# What Prometheus itself says about what it reads.
OF_PROMETHEUS = {"up"}


@cache
def rules() -> dict[str, Any]:
    (found,) = rendered("prod").of("PrometheusRule")
    return dict(found["spec"])


def entries(kind: str) -> list[dict[str, Any]]:
    return [rule for group in rules()["groups"] for rule in group["rules"] if kind in rule]


@cache
def exported() -> frozenset[str]:
    """Every sample name that our processes can export: what is declared is declared on import."""
    for service in SERVICES:
        import_module(f"services.{service}.__main__")
    # Engines are loaded when a setting names them.
    import_module("services.synthesis.engines.elevenlabs")
    names = set()
    for family in REGISTRY.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
        names |= {family.name + ending for ending in endings.get(family.type, ("",))}
    return frozenset(names)


def metrics(expression: str) -> Iterator[str]:
    """The names of all series that a query reads, as Prometheus' own parser sees it."""
    shown = promql_parser.parse(expression).prettify()
    without_strings = re.sub(r'"[^"]*"', "", shown)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)", " ", without_strings)
    for name in re.findall(r"[a-z_][a-z0-9_:]*(?!\w*\s*\()(?=[^\w:]|$)", bare):
        if name not in {"and", "or", "unless", "bool", "offset"}:
            yield name


@pytest.mark.parametrize(
    "rule",
    [*entries("alert"), *entries("record")],
    ids=lambda rule: str(rule.get("alert", rule.get("record"))),
)
def test_a_rule_asks_for_metrics_that_are_exported(rule: dict[str, Any]) -> None:
    recorded = {entry["record"] for entry in entries("record")}
    asked = set(metrics(rule["expr"]))
    assert asked
    assert asked <= exported() | recorded | OF_PROMETHEUS


def test_every_alert_has_been_made_to_fire_and_to_be_quiet() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in entries("alert")}


def test_every_alert_leads_to_a_page_of_the_runbook_with_three_commands() -> None:
    pages = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
    by_anchor = {title.lower(): text for title, text in pages.items()}
    for rule in entries("alert"):
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/runbook.md"
        assert by_anchor[anchor].count("\n1. ") + by_anchor[anchor].count("\n2. ") == 2
        assert "\n3. " in by_anchor[anchor]
        assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.timeout(180)
def test_prometheus_takes_the_rules_and_fires_each_alert(tmp_path: Path) -> None:
    tool = promtool()
    if tool is None:
        pytest.skip("promtool is not installed, and there is no apt to take it from")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    (tmp_path / "alerts_test.yaml").write_text(CASES.read_text())
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([tool, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_event_that_the_runbook_looks_for_is_one_that_we_log() -> None:
    """Words with an underscore in a grep are events, or beginnings of events."""
    searched = re.findall(r"grep (?:-\w+ )*'?([a-z_|]+)'?", RUNBOOK.read_text())
    code = "".join(file.read_text() for file in (ROOT / "services").rglob("*.py"))
    logged = set(re.findall(r'log\.\w+\(\s*"(\w+)"', code)) | set(re.findall(r'"(voice_\w+|user_\w+)"', code))
    events = {event for found in searched for event in found.split("|") if "_" in event}
    assert len(events) > 10
    assert not [event for event in events if not any(known.startswith(event) for known in logged)]
