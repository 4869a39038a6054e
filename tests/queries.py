"""What queries of Prometheus read, as its own grammar sees them, and what there is to read."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser

ROOT = Path(__file__).parent.parent
# What Prometheus and its operator write on every series, whoever exports it.
OF_THE_TARGET = frozenset({"instance", "job", "namespace", "pod", "container", "app_kubernetes_io_name"})
# What Prometheus itself says of what it reads.
OF_PROMETHEUS = frozenset({"up"})
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "Counter": ("",),
    "Gauge": ("",),
    "Histogram": ("_bucket", "_count", "_sum"),
}
_VARIABLES = {"$__rate_interval": "5m", "$__range": "30d", "$__interval": "1m"}


@dataclass(frozen=True)
class Reading:
    """A series that is read, and the labels that the query wants of it."""

    name: str
    labels: frozenset[str]


def readings(query: str) -> set[Reading]:
    """Raises ValueError for what Prometheus would refuse."""
    for variable, value in _VARIABLES.items():
        query = query.replace(variable, value)
    return set(_read(promql_parser.parse(query), frozenset()))


def _read(part: Any, wanted: frozenset[str]) -> Iterator[Reading]:
    """`wanted` are labels that somebody further out groups by."""
    if isinstance(part, promql_parser.MatrixSelector):
        part = part.vector_selector
    if isinstance(part, promql_parser.VectorSelector):
        matched = {matcher.name for matcher in part.matchers.matchers}
        yield Reading(str(part.name), wanted | matched)
        return
    if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
        wanted = frozenset(part.modifier.labels)
    for inner in _inside(part):
        yield from _read(inner, wanted)


def _inside(part: Any) -> Iterator[Any]:
    for name in ("expr", "lhs", "rhs"):
        if (found := getattr(part, name, None)) is not None:
            yield found
    yield from getattr(part, "args", ())


@cache
def declared() -> Mapping[str, frozenset[str]]:
    """Every sample name that our processes can export, with its labels, whether it was met yet or not."""
    files = sorted((ROOT / "services").rglob("*.py"))
    calls = (part for file in files for part in ast.walk(ast.parse(file.read_text())))
    return {name: labels for call in calls if isinstance(call, ast.Call) for name, labels in _declares(call)}


def _declares(call: ast.Call) -> Iterator[tuple[str, frozenset[str]]]:
    kind = call.func.id if isinstance(call.func, ast.Name) else ""
    match call.args:
        case [ast.Constant(value=str(name)), ast.Constant(), *more] if kind in _ENDINGS:
            labels = {label.value for label in _items(more) if isinstance(label, ast.Constant)}
            for ending in _ENDINGS[kind]:
                own = {"le"} if ending == "_bucket" else set()
                yield name + ending, frozenset(str(label) for label in labels) | own


def _items(more: Iterable[ast.expr]) -> Iterator[ast.expr]:
    for given in more:
        if isinstance(given, ast.List | ast.Tuple):
            yield from given.elts


def exported(scraped: str) -> dict[str, frozenset[str]]:
    """The names of a scrape, with the labels that they have by now; families without a sample have none."""
    found: dict[str, set[str]] = {}
    for line in scraped.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            for ending in _ENDINGS["Histogram"] if kind == "histogram" else ("",):
                found.setdefault(name + ending, set())
        elif line and not line.startswith("#"):
            name, brace, rest = line.partition("{")
            name = name if brace else line.split()[0]
            found.setdefault(name, set()).update(_label_names(rest))
    return {name: frozenset(labels) for name, labels in found.items()}


def _label_names(rest: str) -> Iterator[str]:
    # Values may hold anything, so names are what stands before ="
    for part in rest.split('="')[:-1]:
        yield part.rpartition(",")[2].strip()
