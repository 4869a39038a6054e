"""Where the project is, and how its modules are run from anywhere."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONPATH = {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of this project, wherever the caller is."""
    return (sys.executable, "-P", "-m", module, *arguments)
