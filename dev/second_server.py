"""`newvisions test --second-server`: the contract tests against another server than the embedded one.

It is SecantusDB's other implementation, in Rust, from a package of its own version: not good enough to keep
data in (a crash loses acknowledged writes), but different enough to show what a repository takes for granted.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from dev import embedded
from dev.pinned import pinned
from dev.ports import free_port
from dev.process import Process, Spec
from dev.project import ROOT, python
from dev.services import MONGO_ELSEWHERE

# Set for the tests while they run against it.
SECOND_SERVER: Final = "NEWVISIONS_TEST_SECOND_SERVER"
_CONTRACTS: Final = ("auth", "database", "perform", "replays", "voice")


def contract_tests() -> list[str]:
    """Those of the services that keep documents."""
    found = [path for name in _CONTRACTS for path in (ROOT / "tests/contract").glob(f"test_{name}*.py")]
    return [str(path.relative_to(ROOT)) for path in sorted(found)]


async def run_tests(arguments: Sequence[str]) -> int:
    """pytest's exit code. Raises ToolNotInstalled."""
    with tempfile.TemporaryDirectory(prefix="newvisions-second-server-") as folder:
        async with _running(Path(folder)) as url:
            child = await asyncio.create_subprocess_exec(
                *python("pytest", *(arguments or contract_tests())),
                cwd=ROOT,
                env={**os.environ, MONGO_ELSEWHERE: url, SECOND_SERVER: "1"},
            )
            return await child.wait()


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    server = await Process.start(_spec(port, folder), folder, ROOT)
    try:
        yield embedded.mongo_url(port)
    finally:
        await server.stop()


def _spec(port: int, data: Path) -> Spec:
    interpreter = pinned("secantusdb", "python")
    return Spec(
        name="second-server",
        command=(
            # Not by its script: the kernel refuses a shebang line with spaces in the path.
            *(str(interpreter), str(interpreter.with_name("secantusd-rs"))),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--storage-path", str(data / "mongo"), "--cache-size", "256M", "--sync-on-commit"),
        ),
        ready=lambda: embedded.mongo_answers(port),
    )
