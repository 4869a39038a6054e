"""`newvisions test`: the checks, then the tests.

--fast: only tests without a stack or a voice. --browser: only those in a browser, which must be there.
"""

import os
import sys

import pytest

from dev import check, chromium
from dev.project import ROOT

GATEWAY = map(str, sorted(ROOT.glob("tests/integration/test_gateway_*.py")))
FAST = ("-m", "not slow", "tests/unit", "tests/contract", *GATEWAY)
BROWSER = ("-n", "0", "tests/e2e/test_browser.py")
PARALLEL = ("-n", "2")


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    if "--browser" in arguments:
        return _in_a_browser([argument for argument in arguments if argument != "--browser"])
    fast = "--fast" in arguments
    given = [argument for argument in arguments if argument != "--fast"]
    if not fast and not given and check.main() != 0:
        return 1
    return pytest.main([*PARALLEL, *(FAST if fast else ()), *given])


def _in_a_browser(arguments: list[str]) -> int:
    if chromium.find() is None:
        sys.stderr.write(f"newvisions test: {chromium.MISSING}\n")
        return 1
    return pytest.main([*BROWSER, *arguments])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
