"""`python -m tests.integration.left_behind`: a process that is stopped while it works for a caller who left.

Says what happens, a word a line.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.kernel import replay
from services.kernel.caller import Caller, set_caller
from services.kernel.client import Channels
from services.kernel.replay import Attempt, Earlier
from services.kernel.server import Handlers, ServerSettings, serve


class Nothing:
    """Implements Replays for the only attempt there is."""

    async def claim(self, attempt: Attempt) -> Earlier | None:
        return None

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        sys.stdout.write("kept\n")

    async def free(self, attempt: Attempt) -> None:
        sys.stdout.write("freed\n")


class Work:
    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self) -> bytes:
        self.begun.set()
        # Longer than a process without calls takes to stop.
        await asyncio.sleep(1)
        return b"answer"


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    set_caller(Caller(user_id="ada", headers={"idempotency-key": "k"}))
    work = Work()
    call = asyncio.create_task(replay.once(Nothing(), "Work", b"request", work, 5))
    await work.begun.wait()
    call.cancel()
    os.kill(os.getpid(), signal.SIGTERM)
    yield
    sys.stdout.write("closed\n")


if __name__ == "__main__":
    asyncio.run(serve({"left": open_service}, ServerSettings(address="127.0.0.1:0")))
