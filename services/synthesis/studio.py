"""Where memos are put together: a few threads, and seats for as many memos as they can serve."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from prometheus_client import Gauge

from services.synthesis.domain import EngineOverloaded

P = ParamSpec("P")
T = TypeVar("T")

MEMOS = Gauge("synthesis_memos_in_progress", "Memos being spoken, mixed or sent right now.")


class Studio:
    """A memo has at most one step waiting for a thread, so the seats also bound the queue.

    Whoever has a seat keeps it to the end: a memo that has begun is not refused halfway.
    """

    def __init__(self, seats: int, threads: int = 0) -> None:
        self._free = seats
        self._threads = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="studio")

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Raises EngineOverloaded at once when all are taken."""
        if not self._free:
            raise EngineOverloaded("All places for speaking are taken.")
        self._free -= 1
        MEMOS.inc()
        try:
            yield
        finally:
            self._free += 1
            MEMOS.dec()

    async def run(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._threads.submit(step, *args, **kwargs))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
