"""Tools written in Python that are too large for everybody's .venv: each in one of its own.

`dev/locks/NAME.lock` pins a tool with all that it needs, by hash. It is made from NAME.in beside it:

    .venv/bin/uv pip compile dev/locks/NAME.in -o dev/locks/NAME.lock \\
        --universal --python-version 3.11 --generate-hashes
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dev.install import index_of_pip
from dev.project import ROOT

LOCKS = ROOT / "dev/locks"
_KEPT = ROOT / "var/tools"


class ToolNotInstalled(Exception):
    """The package index could not be reached, or did not have what the lock file asks for."""


def pinned(name: str, program: str = "") -> Path:
    """A program of the tool, installed as the lock file says when it is not yet. Raises ToolNotInstalled."""
    venv = _KEPT / name
    _KEPT.mkdir(parents=True, exist_ok=True)
    with venv.with_suffix(".set-up-lock").open("w") as lock:
        # Two test processes may want it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(name, venv)
    return venv / "bin" / (program or name)


def _install(name: str, venv: Path) -> None:
    wanted, stamp = _fingerprint(name), venv / "installed-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(venv, ignore_errors=True)
    python = venv / "bin/python"
    _uv("venv", "--quiet", "--python", sys.executable, str(venv))
    _uv("pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCKS / f"{name}.lock"))
    stamp.write_text(wanted)


def _fingerprint(name: str) -> str:
    """The place and the interpreter are part of it: a virtual environment follows neither."""
    told = f"{_KEPT} {sys.executable} {sys.version}\n".encode()
    return hashlib.sha256(told + (LOCKS / f"{name}.lock").read_bytes()).hexdigest()


def _uv(*arguments: str) -> None:
    command = (sys.executable, "-m", "uv", *arguments)
    environment = {**os.environ, **index_of_pip()}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolNotInstalled(f"uv {' '.join(arguments[:2])}: {done.stderr[-2000:]}")
