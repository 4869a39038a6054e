"""Finds an engine by the name or the import string that a setting holds.

A name is one of ours, or an entry point of the group `newvisions.engines` in any installed package.
Engines are made by calling what is found, without arguments.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from services.synthesis.ports import Engine

GROUP: Final = "newvisions.engines"
# The same as in pyproject.toml; this copy serves a tree that runs without being installed.
BUILT_IN: Final = {
    "elevenlabs": "services.synthesis.engines.elevenlabs:ElevenLabsEngine",
    "local": "services.synthesis.engines.local:LocalEngine",
    "pocket": "services.synthesis.engines.pocket:PocketEngine",
}
_PROMISED: Final = ("name", "sample_rate", "start", "enrol", "speak", "close")


class NotLoaded(Exception):
    """Says in one line what, and why not."""


def engine_named(wanted: str) -> Engine:
    """Made, and not started yet. Raises NotLoaded."""
    make = _found(wanted)
    try:
        made = make()
    # Whatever goes wrong in somebody's code or its settings, the one who starts us is told what.
    except Exception as error:
        raise NotLoaded(f"engine {wanted!r} cannot be made: {_cause(error)}") from error
    if missing := [promised for promised in _PROMISED if not hasattr(made, promised)]:
        raise NotLoaded(f"engine {wanted!r} is no engine: it has no {', '.join(missing)}")
    engine: Engine = made
    return engine


def imported(import_string: str) -> Any:
    """What "module:Name" names. Raises NotLoaded."""
    return _load(EntryPoint(name=import_string, value=import_string, group=GROUP))


def _found(wanted: str) -> Callable[[], Any]:
    if ":" in wanted:
        return _callable(wanted, imported(wanted))
    if wanted in BUILT_IN:
        return _callable(wanted, imported(BUILT_IN[wanted]))
    offered = tuple(entry_points(group=GROUP, name=wanted))
    if not offered:
        known = sorted({*BUILT_IN, *entry_points(group=GROUP).names})
        raise NotLoaded(f"there is no engine {wanted!r}; there are {', '.join(known)}")
    if len({point.value for point in offered}) > 1:
        raise NotLoaded(f"several packages bring an engine {wanted!r}: {', '.join(_owners(offered))}")
    return _callable(wanted, _load(offered[0]))


def _load(point: EntryPoint) -> Any:
    module, _, name = point.value.partition(":")
    try:
        found = import_module(module.strip())
        for part in name.strip().split("."):
            found = getattr(found, part)
    # Importing runs the code of whoever wrote the engine; nothing that it raises is expected.
    except Exception as error:
        raise NotLoaded(f"cannot load {point.name!r}: {_cause(error)}") from error
    return found


def _callable(wanted: str, found: Any) -> Callable[[], Any]:
    if not callable(found):
        raise NotLoaded(f"engine {wanted!r} cannot be made: it is no class and no function")
    make: Callable[[], Any] = found
    return make


def _owners(offered: tuple[EntryPoint, ...]) -> list[str]:
    return sorted(point.dist.name if point.dist else point.value for point in offered)


def _cause(error: Exception) -> str:
    """In one line: some libraries explain themselves in many."""
    return " ".join(str(error).split()) or type(error).__name__
