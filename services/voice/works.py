"""Work that goes on when its caller has hung up, and ends with the service."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from services.kernel.errors import ServiceError

log = structlog.get_logger()

T = TypeVar("T")
# The database driver may swallow a cancellation that meets an answer. What was cancelled cleans up first.
_CANCEL_AGAIN_SECONDS: Final = 2.0


class Works:
    """At most one work of each name at a time.

    An add that was sent is spent, whether or not somebody waits for its outcome: it is carried to its end,
    without the deadline of the call that it was begun by.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[Any]] = {}

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """The one that is under way, if there is one of this name."""
        if found := self._under_way.get(name):
            return found
        context = Context()
        context.run(bind_contextvars, **get_contextvars())
        task = asyncio.create_task(work(), context=context)
        self._under_way[name] = task
        task.add_done_callback(lambda ended: self._ended(name, ended))
        return task

    def is_under_way(self, name: str) -> bool:
        return name in self._under_way

    def count(self, beginning: str) -> int:
        return sum(name.startswith(beginning) for name in self._under_way)

    async def close(self, seconds: float) -> None:
        """What does not end within this time is cancelled."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=seconds)
        while left := list(self._under_way.values()):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)

    def _ended(self, name: str, task: "asyncio.Task[Any]") -> None:
        self._under_way.pop(name, None)
        failure = None if task.cancelled() else task.exception()
        if isinstance(failure, ServiceError):
            # Who waits for it is told; who does not is told at the next call.
            log.debug("voice_work_failed", work=name.partition(" ")[0], cause=failure.reason)
        elif failure:
            log.error("voice_work_crashed", work=name.partition(" ")[0], exc_info=failure)


async def outcome_of(task: "asyncio.Task[T]") -> T:
    """Who waits may be cancelled; the work is not."""
    return await asyncio.shield(task)
