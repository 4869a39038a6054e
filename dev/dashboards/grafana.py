"""A dashboard as its readers think of it, and the JSON that Grafana imports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Unit = Literal["short", "s", "ms", "reqps", "percentunit", "bytes", "Bps", "cps"]
Json = dict[str, Any]

# Whoever imports it chooses which Prometheus.
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_COLUMNS: Final = 24
_HEIGHT: Final = 7
# Of Grafana's JSON, as of Grafana 10.
_SCHEMA_VERSION: Final = 38


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    # What one line is called, with {{label}}.
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    # Why it is there, and what is usual.
    about: str = ""
    # A line at which somebody should look.
    alarm: float | None = None
    # The newest value in large letters, and not its course.
    number: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    rows: tuple[Row, ...]


def rendered(dashboard: Dashboard) -> Json:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["newvisions"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_source()]},
        "panels": _laid_out(dashboard.rows),
    }


def _source() -> Json:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _laid_out(rows: Sequence[Row]) -> list[Json]:
    """Each row as wide as the page, its panels side by side."""
    panels: list[Json] = []
    top = 0
    for row in rows:
        panels.append(_heading(row.title, len(panels) + 1, top))
        width = _COLUMNS // len(row.panels)
        for place, panel in enumerate(row.panels):
            at = {"x": place * width, "y": top + 1, "w": width, "h": _HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, at))
        top += 1 + _HEIGHT
    return panels


def _heading(title: str, number: int, top: int) -> Json:
    at = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": at, "panels": []}


def _panel(panel: Panel, number: int, at: Json) -> Json:
    return {
        "id": number,
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": _look(panel), "overrides": []},
        "options": _numeral() if panel.number else _legend(),
        "targets": [_target(query, place, panel) for place, query in enumerate(panel.queries)],
    }


def _look(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    look: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
        look["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return look


def _legend() -> Json:
    return {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _numeral() -> Json:
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "graphMode": "area"}


def _target(query: Query, place: int, panel: Panel) -> Json:
    return {
        "refId": chr(ord("A") + place),
        "datasource": _SOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": panel.number,
        "range": not panel.number,
    }
