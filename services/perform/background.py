"""Work that outlives the request that began it, and ends before the process does."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import structlog

log = structlog.get_logger()


class Background:
    """Leaving it waits for what is under way; what is not done in time is cancelled, and may undo itself."""

    def __init__(self, stop_seconds: float, limit_calls: Callable[[float], None]) -> None:
        """`limit_calls` bounds all calls to others in its context, in seconds from now."""
        self._stop_seconds = stop_seconds
        self._limit_calls = limit_calls
        self._tasks: set[asyncio.Task[None]] = set()
        self._retries: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], seconds: float | None = None) -> asyncio.Task[None]:
        """`seconds` are the budget of all its calls to others; without, they keep to the request's."""
        context = copy_context()
        if seconds is not None:
            context.run(self._limit_calls, seconds)
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def start_retrying(self, work: Coroutine[Any, Any, None]) -> None:
        """For what somebody else finishes if we do not: it is cancelled as soon as the process stops."""
        self._retries.add(self.start(work))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._retries.discard(task)
        if not task.cancelled() and (crash := task.exception()):
            log.error("background_work_crashed", exc_info=crash)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for retry in self._retries:
            retry.cancel()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._stop_seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("background_work_cancelled", tasks=len(late))
            await asyncio.wait(late)
