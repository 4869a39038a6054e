"""A service with a wrong or missing setting does not start: a line names it, and nothing tells its value."""

import asyncio
import os
from collections.abc import Mapping

import pytest

from dev.project import PYTHONPATH, python

SECRET = "hunter2"
SECONDS = 90
# None of these is ever asked: the settings are read first.
NOWHERE = {"MONGO_URL": "mongodb://127.0.0.1:9", "VALKEY_URL": "redis://127.0.0.1:9", "KEY_FILE": "/nowhere"}
WRONG = [
    ("auth", ("MONGO_URL", "VALKEY_URL", "KEY_FILE"), "AUTH_SESSION_DAYS"),
    ("voice", ("MONGO_URL", "VALKEY_URL", "KEY_FILE"), "VOICE_SAMPLE_WORKERS"),
    ("content", ("VALKEY_URL",), "CONTENT_CACHE_SECONDS"),
    ("synthesis", (), "SYNTHESIS_MEMOS_LIMIT"),
    ("perform", ("MONGO_URL",), "PERFORM_TAKEOVER_SECONDS"),
]


async def started(service: str, variables: Mapping[str, str]) -> tuple[int | None, list[str]]:
    """The exit code of a process that must end by itself, and what it wrote."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *python(f"services.{service}"),
        env={**inherited, **PYTHONPATH, "SERVER_ADDRESS": "127.0.0.1:0", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    return child.returncode, said.decode().splitlines()


@pytest.mark.parametrize(("service", "needed", "variable"), WRONG)
async def test_a_wrong_setting_stops_the_start_with_one_line(
    service: str, needed: tuple[str, ...], variable: str
) -> None:
    given = {f"{service.upper()}_{name}": NOWHERE[name] for name in needed}
    blobs = {f"{service.upper()}_BLOB_URL": "file:///nowhere"} if service in {"voice", "perform"} else {}
    code, lines = await started(service, {**given, **blobs, variable: SECRET})
    assert code == 1
    (line,) = lines
    assert line.startswith(f"setting {variable}: Input should be a valid")
    assert SECRET not in line


async def test_each_setting_that_is_missing_has_a_line() -> None:
    code, lines = await started("perform", {})
    assert code == 1
    assert lines == [
        "setting PERFORM_MONGO_URL: is not set, and has no default",
        "setting PERFORM_BLOB_URL: is not set, and has no default",
    ]


async def test_a_setting_that_every_process_has_is_named_as_well() -> None:
    code, lines = await started("synthesis", {"SERVER_METRICS_PORT": SECRET})
    assert code == 1
    (line,) = lines
    assert line.startswith("setting SERVER_METRICS_PORT: ")
    assert SECRET not in line
