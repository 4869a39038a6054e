"""Which deployment a command looks at: a stack on this machine, or what our own environment names."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.admin import DATA


class NoStackThere(Exception):
    """A folder was named on which no stack runs."""


@dataclass(frozen=True, slots=True)
class Target:
    # What the services were started with, beside our own environment.
    variables: Mapping[str, str] = field(default_factory=dict)
    # The stack's folder; None for an environment.
    data: Path | None = None


def add_target(parser: argparse.ArgumentParser) -> None:
    """The options --data-dir and --environment."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--data-dir", type=Path, metavar="DIR", help="of a stack (default: var/up)")
    which.add_argument(
        "--environment", action="store_true", help="what the environment variables name, though a stack runs"
    )


def find_target(data: Path | None, *, environment: bool = False) -> Target:
    """The stack on that folder; when none is named the one on the usual folder, else our environment.

    Raises NoStackThere.
    """
    settings = (data or DATA) / "settings.json"
    if not environment and settings.is_file():
        return Target(json.loads(settings.read_text()), settings.parent.resolve())
    if data is not None:
        raise NoStackThere(f"no stack runs on {data}; start one with `up`")
    return Target()
