"""Tools outside .venv are pinned as exactly as what is inside."""

import re

import pytest

from dev.pinned import LOCKS

TOOLS = sorted(path.stem for path in LOCKS.glob("*.in"))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_lock_file_pins_the_tool_and_gives_each_package_a_hash(tool: str) -> None:
    lock = (LOCKS / f"{tool}.lock").read_text()
    entries = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==\S+.*\\\n((?: +--hash=\S+.*\n)+)", lock)
    assert len(entries) == len(re.findall(r"(?m)^\w", lock))
    asked = re.findall(r"(?m)^[\w.-]+==[\w.]+", (LOCKS / f"{tool}.in").read_text())
    assert asked
    assert all(f"\n{entry}" in lock for entry in asked)
    assert "index-url" not in lock
