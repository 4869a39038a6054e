"""Ctrl-C and SIGTERM end a command in good order: everything it opened is closed before it exits."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

INTERRUPTED = 130


def run_until_interrupted(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end and return the exit code; on a signal cancel, wait for the cleaning up, return 130."""
    return asyncio.run(_run(work))


async def _run(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.create_task(work)
    for signalled in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signalled, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED
