"""Work that outlives the request that began it, and ends before the process does."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import structlog

log = structlog.get_logger()

# For what was cancelled to undo itself, with what it begins for that: longer than any of its calls takes.
_UNDO_SECONDS = 5.0


class Background:
    """Leaving it waits for what is under way; what is not done in time is cancelled, and may undo itself."""

    def __init__(self, stop_seconds: float, limit_calls: Callable[[float], None]) -> None:
        """`limit_calls` bounds all calls to others in its context, in seconds from now."""
        self._stop_seconds = stop_seconds
        self._limit_calls = limit_calls
        self._tasks: set[asyncio.Task[None]] = set()
        self._retries: set[asyncio.Task[None]] = set()
        self._stopping = False

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
        """For work that a sweeper or an expiry finishes otherwise: cancelled at once when the process stops,
        not started after that."""
        if self._stopping:
            work.close()
            log.warning("retry_not_begun")
            return
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
        self._stopping = True
        for retry in self._retries:
            retry.cancel()
        await self._end(self._stop_seconds)
        if not self._tasks:
            return
        log.warning("background_work_cancelled", tasks=len(self._tasks))
        for task in self._tasks:
            task.cancel()
        await self._end(_UNDO_SECONDS)
        if self._tasks:
            log.error("background_work_left", tasks=len(self._tasks))

    async def _end(self, seconds: float) -> None:
        """Waits for all tasks, and for those they start meanwhile."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + seconds
        while self._tasks and (left := give_up - clock()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
