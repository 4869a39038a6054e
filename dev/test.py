"""`newvisions test`: the checks, then the tests.

--fast: only tests without a stack or a voice. --browser: only those in a browser, and --observed: only those
with Prometheus and Alertmanager; what they need must be there.
--rolling: every service replaced under load. --object-store: blobs in a real one, which it installs.
--second-server: the contract tests against another implementation of the document database.
--fuzz: ten thousand damaged recordings instead; options of tests/fuzz/uploads.py follow.
--chaos: seeds of what goes wrong while voices are kept and performances made; --seeds N, --from N.
--images: builds the images, and tests them in containers.
"""

import asyncio
import os
import re
import subprocess
import sys

import pytest

from dev import check, chromium, observing
from dev.images import tier
from dev.pinned import ToolNotInstalled
from dev.project import PYTHONPATH, ROOT, python
from dev.second_server import run_tests

GATEWAY = map(str, sorted(ROOT.glob("tests/integration/test_gateway_*.py")))
# All of such a file is slow, and to import it takes seconds that nobody needs.
SLOW_FILE = re.compile(r"^pytestmark = \[?pytest\.mark\.slow\b", re.MULTILINE)
BROWSER = ("-n", "0", "tests/e2e/test_browser.py")
# Skipped among the others, unless the option is given.
OPTIONAL = {
    "--rolling": "tests/chaos/test_rolling_restart.py",
    "--object-store": "tests/contract/test_object_store.py",
}
# Not among the others: they take minutes.
OBSERVED = ("-n", "0", "tests/observed")
# What stays together, so that it is set up once, tests/conftest.py says. In the order of the folders: first
# stacks, and last small files of unit tests, so that neither half waits long for the other.
PARALLEL = ("-n", "2", "--no-loadscope-reorder")


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    own_ways = {
        "--browser": _in_a_browser,
        "--second-server": _second_server,
        "--observed": _observed,
        "--fuzz": _fuzz,
        "--chaos": _chaos,
        "--images": tier.main,
    }
    for option, way in own_ways.items():
        if option in arguments:
            return way([argument for argument in arguments if argument != option])
    for option, file in OPTIONAL.items():
        if option in arguments:
            return pytest.main(["-n", "0", file, *arguments])
    fast = "--fast" in arguments
    given = [argument for argument in arguments if argument != "--fast"]
    if not fast and not given and check.main() != 0:
        return 1
    return pytest.main([*PARALLEL, *(_fast() if fast else ()), *given])


def _fast() -> list[str]:
    slow = [file for file in ROOT.glob("tests/**/test_*.py") if SLOW_FILE.search(file.read_text())]
    ignored = [f"--ignore={file.relative_to(ROOT)}" for file in slow]
    return ["-m", "not slow", *ignored, *GATEWAY, "tests/contract", "tests/unit"]


def _chaos(arguments: list[str]) -> int:
    """One after the other, and all of them whatever becomes of the first."""
    ended = [
        subprocess.run(
            [*python(module), *arguments], env={**os.environ, **PYTHONPATH}, check=False
        ).returncode
        for module in ("tests.chaos.performances", "tests.chaos.voice_pool")
    ]
    return max(ended)


def _fuzz(arguments: list[str]) -> int:
    return subprocess.run([*python("tests.fuzz.uploads"), *arguments], check=False).returncode


def _in_a_browser(arguments: list[str]) -> int:
    if chromium.find() is None:
        sys.stderr.write(f"newvisions test: {chromium.MISSING}\n")
        return 1
    return pytest.main([*BROWSER, *arguments])


def _second_server(arguments: list[str]) -> int:
    try:
        return asyncio.run(run_tests(arguments))
    except ToolNotInstalled as failure:
        print(f"newvisions test: the second server cannot be installed: {failure}", file=sys.stderr)
        return 1


def _observed(arguments: list[str]) -> int:
    try:
        observing.installed("http://127.0.0.1/")
    except observing.NotInstalled as failure:
        sys.stderr.write(f"newvisions test: {failure}\n")
        return 1
    return pytest.main([*OBSERVED, *arguments])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
