"""`newvisions check`: style, types, import rules, our own rules and contracts: all but running it.

For our own rules a tool of 380 MB is installed on first use; --without-rules does without.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from dev import own_rules
from dev.pinned import ToolNotInstalled
from dev.project import ROOT

BUF = str(Path(sys.executable).with_name("buf"))
# Locks hold hashes, tests make secrets of their own, and sounds are noise.
_NO_SECRETS = (
    *("requirements.lock", "dev/locks", "tests", "dev/settings_*.py", "docs/settings.md"),
    *("*.mp3", "*.flac", "*.npz", "*.txt"),
)
_MAY_HOLD_SECRETS = (".", *(f":!{path}" for path in _NO_SECRETS))
TYPED = ("services", "gateway", "dev", "bench", "tests")


def main(arguments: Sequence[str] = ()) -> int:
    folder = tempfile.TemporaryDirectory(prefix="newvisions-contracts-")
    with folder as before, ThreadPoolExecutor(os.cpu_count()) as workers:
        asked = {}
        if "--without-rules" not in arguments:
            asked["own rules"] = workers.submit(_own_rules_pass)
        for name, command in (*_checks(), *_breaking(Path(before))):
            asked[name] = workers.submit(_passes, name, command)
    if "own rules" not in asked:
        print("check: own rules: NOT LOOKED AT, `./newvisions check` does")
    if failed := [name for name, passed in asked.items() if not passed.result()]:
        print(f"check: failed: {', '.join(failed)}")
    return 1 if failed else 0


def _checks() -> Iterator[tuple[str, list[str]]]:
    module = [sys.executable, "-m"]
    folders = [name for name in TYPED if any((ROOT / name).rglob("*.py"))]
    # The longest first.
    yield "types", [*module, "mypy", *folders]
    yield "style", [*module, "ruff", "check", "--quiet"]
    yield "format", [*module, "ruff", "format", "--check", "--quiet"]
    imports = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    yield "import rules", [sys.executable, "-c", imports]
    yield "contract style", [BUF, "lint"]
    yield "contract format", [BUF, "format", "--diff", "--exit-code", "protos"]
    yield "dangerous calls", [*module, "bandit", "-q", "-r", "-ll", "services", "gateway"]
    yield "image recipe", [str(Path(sys.executable).with_name("hadolint")), "Dockerfile"]
    if committed := _git("ls-files", "--", *_MAY_HOLD_SECRETS).decode().split():
        hook = str(Path(sys.executable).with_name("detect-secrets-hook"))
        yield (
            "no secrets",
            [hook, "--exclude-lines", "secretName|SECRETS_DIR|correct horse battery", *committed],
        )


def _breaking(before: Path) -> Iterator[tuple[str, list[str]]]:
    base = _contracts_before(before)
    if base is None:
        print("check: contracts break nothing: skipped, there is no earlier contract to compare with")
    else:
        yield f"contracts break nothing since {base}", [BUF, "breaking", "--against", str(before)]


def _own_rules_pass() -> bool:
    """Not when the tool cannot be had: nobody would notice that nothing was looked at."""
    try:
        return all(_passes(name, command) for name, command in own_rules.commands())
    except ToolNotInstalled as failure:
        print(f"check: own rules: FAILED, semgrep is not there: {failure}")
        return False


def _passes(name: str, command: list[str]) -> bool:
    """Says what is wrong, or that nothing is."""
    started = monotonic()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        print(f"check: {name}: good ({monotonic() - started:.1f} s)", flush=True)
        return True
    print(f"{ended.stdout}{ended.stderr}check: {name}: FAILED", flush=True)
    return False


def _contracts_before(directory: Path) -> str | None:
    """Lays out the last released contracts, or the main branch's, with the imports they need."""
    base = _git("describe", "--tags", "--abbrev=0") or b"main"
    name = base.decode().strip()
    archive = _git("archive", "--format=tar", name, "protos", "buf.yaml")
    if not archive:
        return None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    (directory / "gen").mkdir()
    (directory / "gen/third_party").symlink_to(ROOT / "gen/third_party")
    return name


def _git(*arguments: str) -> bytes:
    """What git says; nothing where there is no git or no such thing."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return b""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
