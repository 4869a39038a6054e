"""The first tutorial, done to the letter by a shell: what it promises is what its reader gets."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dev.ports import free_port
from dev.project import ROOT
from tests.tutorials import commands

pytestmark = pytest.mark.slow
READY_SECONDS = 180

# The folder of the project, but with data of its own and an engine that needs no model.
_HERE = """\
#!/bin/sh
command=$1; shift
[ "$command" = up ] && set -- --engine tone "$@"
exec {root}/newvisions "$command" --data-dir {data} "$@"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    script = tmp_path / "newvisions"
    script.write_text(_HERE.format(root=ROOT, data=tmp_path / "data"))
    script.chmod(0o755)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    return tmp_path


@asynccontextmanager
async def first_terminal(command: str, folder: Path) -> AsyncIterator[str]:
    """What it said until it was ready; Ctrl-C at the end."""
    child = await asyncio.create_subprocess_shell(
        f"exec {command}",
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while "Activation code" not in said:
                line = await child.stdout.readline()
                assert line, f"it ended: {said}"
                said += line.decode()
        yield said
    finally:
        child.terminate()
        # What it still says must not fill the pipe.
        await child.communicate()


async def second_terminal(script: str, folder: Path) -> str:
    child = await asyncio.create_subprocess_exec(
        *("sh", "-eu", "-c", script),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(READY_SECONDS):
        said, complaint = await child.communicate()
    assert child.returncode == 0, complaint.decode()
    return said.decode()


async def test_who_does_what_the_first_tutorial_says_has_a_memo(folder: Path) -> None:
    port = str(free_port())
    start, *rest = [command.replace("8080", port) for command in commands("en", "first-memo")]
    assert start == f"./newvisions up --port {port}\n"
    async with first_terminal(start.strip(), folder) as said:
        assert f"New Visions is at http://127.0.0.1:{port}" in said
        told = await second_terminal("\necho\n".join(rest), folder)
    assert '"error"' not in told
    answers = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    registered, uploaded, settings, recordings, credit = answers
    assert registered["username"] == "ada"
    assert uploaded["action"] == "created"
    assert settings["background_sound"] is True
    (recording,) = recordings["recordings"]
    assert "Seven of Hearts" in recording["text"]
    assert re.search(r"(?i)^voice-note-text: \S*Seven%20of%20Hearts", told, re.MULTILINE)
    assert 80 <= credit["charCount"] <= 120
    memo = (folder / "memo.mp3").read_bytes()
    assert (memo[:3], len(memo)) == (b"ID3", recording["size_bytes"])
