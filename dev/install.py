"""Makes .venv and gen/ what they should be, and does nothing when they are; needs only the standard library.

Runs under the system's Python before anything is installed. An interrupted run is repaired by the
next one, and two at once wait for each other.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "installed-from"
GENERATED = ROOT / "gen/made-from.sha256"
LOG = VENV / "installing.log"


class StepFailed(Exception):
    """A step of the set-up ended with an error; what it said is in LOG."""


def main() -> None:
    wanted = _fingerprint()
    if _done(wanted):
        return
    VENV.mkdir(exist_ok=True)
    with (VENV / ".set-up-lock").open("w") as lock:
        _wait_for(lock.fileno())
        if _done(wanted):
            return
        try:
            _install(wanted)
        except StepFailed as failed:
            _say(f"{failed}. The end of {LOG}:")
            for line in LOG.read_text(errors="replace").splitlines()[-20:]:
                _say(f"  {line}")
            _say("Correct the cause and run it again: the next run repairs what this one left half done.")
            raise SystemExit(1) from None


def _done(wanted: str) -> bool:
    return STAMP.exists() and STAMP.read_text() == wanted and GENERATED.exists() and PYTHON.exists()


def _fingerprint() -> str:
    """What the result depends on. The place is part of it: a virtual environment cannot be moved."""
    digest = hashlib.sha256(str(ROOT).encode())
    sources = sorted((ROOT / "protos").rglob("*.proto"))
    for path in (LOCK, ROOT / "dev/install.py", ROOT / "dev/protos.py", *sources):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def _install(wanted: str) -> None:
    STAMP.unlink(missing_ok=True)
    LOG.write_text("")
    if not _venv_works():
        with _step("making the virtual environment .venv"):
            _make_venv()
    with _step("installing the packages of requirements.lock into .venv"):
        _install_uv()
        sync = ("uv", "pip", "sync", "--quiet", "--python", str(PYTHON), "--require-hashes", str(LOCK))
        _run(str(PYTHON), "-m", *sync, environment=index_of_pip())
    with _step("generating code from the contracts"):
        _run(str(PYTHON), "-m", "dev.protos")
    STAMP.write_text(wanted)


def _venv_works() -> bool:
    """Whether there is one, made for this place, by a Python that still exists."""
    activate = VENV / "bin/activate"
    if not (PYTHON.exists() and activate.exists() and str(VENV) in activate.read_text()):
        return False
    test = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    return subprocess.run([PYTHON, "-I", "-c", test], capture_output=True, check=False).returncode == 0


def _make_venv() -> None:
    keep = {".set-up-lock", LOG.name}
    for path in VENV.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # From the system's own Python, also when this runs in a broken environment.
    base = getattr(sys, "_base_executable", sys.executable)
    _run(base, "-m", "venv", str(VENV))


def _install_uv() -> None:
    pinned, entry = _pinned("uv"), VENV / "uv.lock"
    if entry.exists() and entry.read_text() == pinned:
        return
    half_done = entry.with_suffix(".new")
    half_done.write_text(pinned)
    _run(str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(half_done))
    half_done.replace(entry)


def _pinned(name: str) -> str:
    """One package's entry of the lock file: the version and its hashes."""
    found = re.search(rf"(?m)^{name}==(?:.*\\\n)*.*", LOCK.read_text())
    if found is None:
        raise SystemExit(f"requirements.lock does not pin {name}")
    return found[0] + "\n"


def index_of_pip() -> dict[str, str]:
    """uv does not read pip's configuration; whoever configured a mirror for pip means it for both."""
    if any(name in os.environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    asked = subprocess.run(
        [PYTHON, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    url = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return {"UV_DEFAULT_INDEX": url} if url else {}


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    with LOG.open("a") as log:
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=log, stderr=log, check=False
        )
    if ended.returncode != 0:
        raise StepFailed(f"{Path(command[0]).name} {' '.join(command[1:4])} failed ({ended.returncode})")


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Says what is being done once it takes longer than a moment, and that it still goes on."""
    started, finished = monotonic(), threading.Event()

    def report() -> None:
        wait = 1.0
        while not finished.wait(wait):
            _say(f"{what} ... {monotonic() - started:.0f} s")
            wait = 10.0

    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        yield
    finally:
        finished.set()
        reporter.join()
    if monotonic() - started > 1:
        _say(f"{what}: done in {monotonic() - started:.0f} s")


def _wait_for(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("another run is setting the project up; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _say(line: str) -> None:
    # Standard output belongs to the command that follows.
    sys.stderr.write(f"newvisions: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        _say("stopped; run it again to go on")
        raise SystemExit(130) from None
