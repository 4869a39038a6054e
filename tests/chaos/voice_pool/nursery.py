"""Forks replicas of the voice service from one process that has everything imported already, so that a
replica starts in tenths of a second. Each is a process of its own, in a group of its own.

Reads one JSON object a line, {"environment": ..., "log": ...}, and answers with the new process' id. At the
end of its input it kills all that it started.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dev.project import PYTHONPATH, ROOT, python


class Nursery:
    def __init__(self, child: Process) -> None:
        self._child = child
        self._turn = asyncio.Lock()

    async def fork(self, environment: Mapping[str, str], log: Path) -> int:
        """The id of a new process."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        order = json.dumps({"environment": dict(environment), "log": str(log)})
        async with self._turn:
            self._child.stdin.write(order.encode() + b"\n")
            return int(await self._child.stdout.readline())


@asynccontextmanager
async def opened() -> AsyncIterator[Nursery]:
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = await asyncio.create_subprocess_exec(
        *python("tests.chaos.voice_pool.nursery"),
        cwd=ROOT,
        env={**os.environ, **PYTHONPATH, **one_thread},
        stdin=PIPE,
        stdout=PIPE,
    )
    assert child.stdin is not None
    try:
        yield Nursery(child)
    finally:
        child.stdin.close()
        await child.wait()


def main() -> None:
    import services.synthesis.__main__
    import services.synthesis.engines.tone
    import services.voice.__main__  # noqa: F401 - imported for the children

    # Whoever ends is gone at once, without anybody waiting for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: list[int] = []
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _become(order)
        children.append(child)
        os.write(sys.stdout.fileno(), f"{child}\n".encode())
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(order["environment"])
    code = 1
    try:
        from services.serve import main as serve

        serve(["voice", "synthesis"])
        code = 0
    except BaseException as error:
        # Without the word by which a crash in the middle of its work is known.
        told = traceback.format_exception(error, chain=False)[1:]
        sys.stderr.writelines(["ended at its start:\n", *told])
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
