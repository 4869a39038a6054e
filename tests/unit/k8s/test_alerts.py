"""Every alert asks for metrics that exist, has been made to fire, and leads to a page of the runbook."""

import json
import re
import subprocess
from copy import deepcopy
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
WINDOWS = ROOT / "deploy/observability/windows_test.yaml"
# Envoy's own source is not ours to read; tests/e2e/test_metrics.py finds these in a running one.
OF_ENVOY = "envoy_"


@cache
def rules() -> dict[str, Any]:
    (found,) = rendered("prod").of("PrometheusRule")
    return dict(found["spec"])


@cache
def pages() -> dict[str, str]:
    """Of the runbook, by the alerts that they are about: their titles are single words."""
    return dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))


def runbook() -> str:
    """Where the overlay says that it can be read."""
    (found,) = rendered("prod").of("PrometheusRule")
    return str(found["metadata"]["annotations"]["newvisions.io/runbook"])


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


def test_every_alert_leads_to_a_page_of_the_runbook() -> None:
    led_to = [rule["annotations"]["runbook_url"].partition("#") for rule in entries("alert")]
    # From a pager, not from a checkout.
    assert {path for path, _, _ in led_to} == {runbook()}
    assert runbook().startswith("https://")
    assert {anchor for _, _, anchor in led_to} == {title.lower() for title in pages()}
    assert {rule["labels"]["severity"] for rule in entries("alert")} == {"page", "ticket"}


@pytest.mark.parametrize("page", pages())
def test_a_page_begins_with_three_things_to_type(page: str) -> None:
    """A command, or a question to Prometheus about metrics and labels that there are; then what it tells."""
    items = re.findall(r"^(\d)\. (In Prometheus: )?(?:`([^`]+)`)?", pages()[page], re.MULTILINE)
    assert [number for number, _, _ in items] == ["1", "2", "3"]
    for _, asked, typed in items:
        if asked:
            for reading in readings(typed):
                assert reading.labels <= declared()[reading.name] | OF_THE_TARGET
        else:
            assert typed.split(" ", maxsplit=1)[0] in {"k", "kubectl", "curl"}


def test_logs_of_many_pods_are_read_to_their_end() -> None:
    """With a selector, kubectl shows ten lines of each pod unless it is told otherwise."""
    asked = re.findall(r"k logs -l [^|`]+", "".join(pages().values()))
    assert len(asked) > 10
    assert [command for command in asked if "--tail=-1" not in command] == []


@pytest.fixture
def tool() -> Path:
    found = promtool()
    if found is None:
        pytest.skip("promtool is not installed, and there is no apt to take it from")
    return found


@pytest.mark.timeout(180)
def test_prometheus_takes_the_rules_and_fires_each_alert(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    assert complaints(tool, "check", tmp_path / "rules.yaml") == ""
    assert fails_a_case(tool, CASES, tmp_path, rules()) == ""


def test_each_pair_of_windows_fires_alone(tool: Path, tmp_path: Path) -> None:
    assert fails_a_case(tool, WINDOWS, tmp_path, seldom(rules())) == ""


@pytest.mark.parametrize("pair", [0, 1])
@pytest.mark.parametrize("alert", [rule["alert"] for rule in entries("alert") if "ratio6h" in rule["expr"]])
def test_a_pair_of_windows_that_is_left_out_is_missed(
    alert: str, pair: int, tool: Path, tmp_path: Path
) -> None:
    less = seldom(rules())
    (rule,) = [rule for group in less["groups"] for rule in group["rules"] if rule.get("alert") == alert]
    pairs = rule["expr"].split(" or ")
    assert len(pairs) == 2
    rule["expr"] = pairs[1 - pair]
    assert f"alertname: {alert}," in fails_a_case(tool, WINDOWS, tmp_path, less)


def seldom(spec: dict[str, Any]) -> dict[str, Any]:
    """As often as the cases say: looked at every half minute, hours would take minutes."""
    groups = [{key: value for key, value in group.items() if key != "interval"} for group in spec["groups"]]
    return deepcopy({"groups": groups})


def fails_a_case(tool: Path, cases: Path, folder: Path, spec: dict[str, Any]) -> str:
    """What Prometheus says of the cases that the rules do not keep; empty when they keep all."""
    # The cases are written for the rules as they are in the repository.
    (folder / cases.name).write_text(cases.read_text().replace("docs/runbook.md", runbook()))
    (named,) = yaml.safe_load(cases.read_text())["rule_files"]
    (folder / named).write_text(yaml.safe_dump(spec))
    return complaints(tool, "test", folder / cases.name)


def test_a_full_replica_counts_beside_one_with_many_places(tool: Path, tmp_path: Path) -> None:
    """As perform is scaled: the autoscaler divides by the replicas."""
    scaler = rendered("prod with keda").named("ScaledObject", "perform")
    (query,) = [
        found["metadata"]["query"] for found in scaler["spec"]["triggers"] if found["type"] == "prometheus"
    ]
    places = {"perform-1": (8, 8), "perform-2": (8, 40)}
    series = [
        {"series": f'{name}{{for="memos",pod="{pod}"}}', "values": f"{value}x2"}
        for pod, values in places.items()
        for name, value in zip(("perform_places_taken", "perform_places"), values, strict=True)
    ]
    shares = {"expr": query, "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 1 + 0.2}]}
    case = {"interval": "1m", "input_series": series, "promql_expr_test": [shares]}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump({"tests": [case]}))
    assert complaints(tool, "test", tmp_path / "cases.yaml") == ""


def complaints(tool: Path, verb: str, file: Path) -> str:
    command = [str(tool), verb, "rules", file.name]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


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
