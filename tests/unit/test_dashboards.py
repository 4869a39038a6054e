"""Dashboards that Grafana can import, whose queries Prometheus would take."""

import json
from typing import Any

import pytest

from dev.dashboards.files import DASHBOARDS, FOLDER, texts
from dev.dashboards.grafana import rendered
from tests.queries import readings

PANELS = [
    (name, panel)
    for name, dashboard in DASHBOARDS.items()
    for panel in rendered(dashboard)["panels"]
    if panel["type"] != "row"
]


def test_the_files_are_what_the_panels_make_of_them() -> None:
    """`python -m dev.dashboards` writes them."""
    written = {file.name: file.read_text() for file in FOLDER.glob("*.json")}
    assert written == texts()


@pytest.mark.parametrize(
    ("name", "panel"), PANELS, ids=lambda given: given["title"] if isinstance(given, dict) else None
)
def test_a_panel_asks_what_prometheus_understands(name: str, panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert readings(target["expr"])


@pytest.mark.parametrize("broken", ["sum(rate(a[5m])", "rate(a)", "sum by (x (a)"])
def test_a_query_that_prometheus_would_refuse_is_noticed(broken: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        readings(broken)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_two_panels_lie_on_one_another(name: str) -> None:
    dashboard = json.loads(texts()[name])
    squares = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(squares) == len(set(squares))
    assert max(x for x, _ in squares) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
