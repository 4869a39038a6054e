"""The tests in which the second embedded server is known to fail, and why.

`./newvisions test --second-server` runs the contract tests against another implementation of MongoDB's wire
protocol, so that no repository leans on what one of them happens to do. A test that is named here must fail
there: a divergence that was mended leaves the list.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from dev.second_server import SECOND_SERVER

DIVERGENCES: Final[Mapping[str, str]] = {}


def mark(items: Sequence[pytest.Item]) -> None:
    if os.environ.get(SECOND_SERVER):
        for item in items:
            if item.nodeid in DIVERGENCES:
                item.add_marker(pytest.mark.xfail(reason=DIVERGENCES[item.nodeid], strict=True))
