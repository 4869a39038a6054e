"""What the routes that spend read beside the message itself."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

# The gateway takes a stream that says nothing for much longer than this for dead.
SILENT_SECONDS: Final = 15.0


def join_seconds(longest: float, context: Any) -> float:
    """Waiting for an earlier request ends just before the caller's deadline, to say so."""
    remaining = context.time_remaining()
    return longest if remaining is None else min(longest, remaining * 0.95)


def when_answered(then: Callable[[], None]) -> None:
    """Once this call has ended, when its answer is on its way.

    Its task says so. What a context is given to call back it keeps until the next garbage collection, with
    all that that refers to.
    """
    task = asyncio.current_task()
    if task is not None:
        task.add_done_callback(lambda _: then())
