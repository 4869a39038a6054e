"""One JSON line for each answer of a bench: the figures, the machine and the commit they belong to."""

import json
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


def percentiles(seconds: list[float]) -> dict[str, float | int]:
    """p50, p95, p99 and maximum in milliseconds, by nearest rank: each was really measured."""
    if not seconds:
        raise ValueError("nothing was measured")
    ranked = sorted(seconds)
    figures: dict[str, float | int] = {"count": len(ranked)}
    for share in (50, 95, 99):
        figures[f"p{share}_ms"] = round(ranked[-(-share * len(ranked) // 100) - 1] * 1000, 3)
    figures["max_ms"] = round(ranked[-1] * 1000, 3)
    return figures


def line(**fields: Any) -> None:
    """Print the fields with machine and commit as one line of JSON."""
    print(json.dumps({**fields, "machine": _machine(), "commit": _commit()}), flush=True)


@cache
def _machine() -> dict[str, str | int]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for row in described.read_text().splitlines():
            if row.startswith("model name"):
                return row.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


@cache
def _commit() -> str:
    """The commit of this tree, marked when it was changed since; "unknown" outside a clone."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    asked = subprocess.run(
        [git, "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return asked.stdout.strip() or "unknown"
