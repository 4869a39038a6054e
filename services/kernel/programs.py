"""Programs of our own that a service starts beside itself, and asks over their standard input and output."""

import os
import sys
from pathlib import Path
from typing import BinaryIO


def environment() -> dict[str, str]:
    """Where its modules are, and one thread each for what computes; no secret of ours."""
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def private_stdout() -> BinaryIO:
    """To be called by the program: what a library prints must not get between its answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
