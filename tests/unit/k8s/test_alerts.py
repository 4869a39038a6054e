"""Every alert asks for metrics that exist, has been made to fire, and leads to a page of the runbook."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.tools import promtool
from tests.queries import OF_PROMETHEUS, OF_THE_TARGET, declared, readings
from tests.unit.k8s import ROOT, rendered

pytestmark = pytest.mark.slow

RUNBOOK = ROOT / "docs/runbook.md"
CASES = ROOT / "deploy/observability/alerts_test.yaml"
# Envoy's own source is not ours to read; tests/e2e/test_metrics.py finds these in a running one.
OF_ENVOY = "envoy_"


@cache
def rules() -> dict[str, Any]:
    (found,) = rendered("prod").of("PrometheusRule")
    return dict(found["spec"])


def entries(kind: str) -> list[dict[str, Any]]:
    return [rule for group in rules()["groups"] for rule in group["rules"] if kind in rule]


@pytest.mark.parametrize(
    "rule",
    [*entries("alert"), *entries("record")],
    ids=lambda rule: str(rule.get("alert", rule.get("record"))),
)
def test_a_rule_asks_for_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    recorded = {entry["record"] for entry in entries("record")}
    asked = readings(rule["expr"])
    assert asked
    for reading in asked:
        if reading.name in recorded | OF_PROMETHEUS or reading.name.startswith(OF_ENVOY):
            continue
        assert reading.labels <= declared()[reading.name] | OF_THE_TARGET


def test_every_alert_has_been_made_to_fire_and_to_be_quiet() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in entries("alert")}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


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


def test_the_promises_are_counted_at_exactly_the_bounds_that_were_given() -> None:
    """A bound that is no bucket's would make the share of late listeners nothing at all."""
    for file in ("services/perform/steps.py", "services/perform/speech_streaming.py"):
        (bounds,) = re.findall(
            r"first_audio_seconds\".*?buckets=\((.*?)\)", (ROOT / file).read_text(), re.DOTALL
        )
        assert "1.5" in bounds.split(", ")


def test_grafana_finds_the_dashboards_by_their_label() -> None:
    shipped = {
        name: json.loads(text)["title"]
        for manifest in rendered("prod").of("ConfigMap")
        if manifest["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
        for name, text in manifest["data"].items()
    }
    assert set(shipped) == {"overview.json", "pool.json", "stages.json"}
    assert all(title.startswith("New Visions") for title in shipped.values())
