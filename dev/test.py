"""`newvisions test`: the checks, then the tests; with --fast only tests without a stack or a voice."""

import os
import sys

import pytest

from dev import check
from dev.project import ROOT

GATEWAY = map(str, sorted(ROOT.glob("tests/integration/test_gateway_*.py")))
FAST = ("-m", "not slow", "tests/unit", "tests/contract", *GATEWAY)
PARALLEL = ("-n", "2")


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    fast = "--fast" in arguments
    given = [argument for argument in arguments if argument != "--fast"]
    if not fast and not given and check.main() != 0:
        return 1
    return pytest.main([*PARALLEL, *(FAST if fast else ()), *given])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
