"""`newvisions admin`: the services' command lines with the settings of a running stack."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.project import PYTHONPATH, ROOT, python

DATA = ROOT / "var/up"
USAGE = """\
usage: newvisions admin [--data-dir DIR] COMMAND...
       newvisions admin [--data-dir DIR] voice COMMAND...

Administers a running stack. --data-dir is where it keeps its data (default: var/up).
`newvisions admin voice --help` lists the commands about voices; those about accounts follow.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="newvisions admin", add_help=False, allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=DATA)
    options, command = parser.parse_known_args()
    run = _program(command)
    if _asks_for_help(command):
        os.execve(run[0], run, {**os.environ, **PYTHONPATH})  # noqa: S606 - becoming that program is the purpose
    settings = options.data_dir / "settings.json"
    if not settings.is_file():
        sys.exit(f"newvisions admin: no stack runs on {options.data_dir}; start one with `up`")
    environment = {**os.environ, **PYTHONPATH, **json.loads(settings.read_text())}
    os.execve(run[0], run, environment)  # noqa: S606 - as above


def _program(command: Sequence[str]) -> tuple[str, ...]:
    if command[:1] == ["voice"]:
        return python("services.voice.cli", *command[1:])
    if not command or command[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE + "\n")
        sys.stdout.flush()
        return python("services.auth.cli", "--help")
    return python("services.auth.cli", *command)


def _asks_for_help(command: Sequence[str]) -> bool:
    """Which needs no stack."""
    return not command or any(word in {"-h", "--help"} for word in command)


if __name__ == "__main__":
    main()
