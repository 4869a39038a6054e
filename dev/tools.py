"""Programs that no Python package holds: used where they are installed, or taken from Debian's package."""

import shutil
import subprocess
from pathlib import Path

from dev.project import ROOT

_KEPT = ROOT / "var/tools"


def promtool() -> Path | None:
    """Prometheus' own checker of rules; None where there is neither it nor apt."""
    return _program("promtool", "prometheus")


def _program(name: str, package: str) -> Path | None:
    if found := shutil.which(name):
        return Path(found)
    kept = _KEPT / package / "usr/bin" / name
    if kept.exists():
        return kept
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    return kept if _unpacked(package) and kept.exists() else None


def _unpacked(package: str) -> bool:
    """Into a folder of ours: nothing is installed, and no root is needed."""
    folder = _KEPT / package
    folder.mkdir(parents=True, exist_ok=True)
    download = ("apt-get", "download", package)
    # The second time with lists that are not out of date.
    if not _done(download, folder):
        _done(("apt-get", "update"), folder)
        _done(download, folder)
    files = list(folder.glob("*.deb"))
    return bool(files) and subprocess.run(["dpkg", "-x", files[0], folder], check=False).returncode == 0


def _done(command: tuple[str, ...], folder: Path) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
