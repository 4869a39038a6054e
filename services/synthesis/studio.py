"""Where memos are put together: a few threads, and seats for as many memos as they can serve."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from services.synthesis.domain import EngineOverloaded

P = ParamSpec("P")
T = TypeVar("T")
Turns = deque[asyncio.Future[None]]


class Studio:
    """A memo has at most one step waiting for a thread, so the seats also bound the queue.

    Whoever has a seat keeps it to the end: a memo that has begun is not refused halfway. Steps that a
    listener hears silence for go before those that only keep ahead of the player.
    """

    def __init__(self, seats: int, threads: int = 0) -> None:
        self.free = seats
        count = threads or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="studio")
        # One step more than there are threads: none is idle until the event loop brings the next.
        self._turns = count + 1
        self._urgent: Turns = deque()
        self._usual: Turns = deque()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Raises EngineOverloaded at once when all are taken."""
        if not self.free:
            raise EngineOverloaded("All places for speaking are taken.")
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1

    async def run(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._usual, partial(step, *args, **kwargs))

    async def hurry(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Before all that waits in `run`: somebody waits for the first sound."""
        return await self._run(self._urgent, partial(step, *args, **kwargs))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, queue: Turns, step: Callable[[], T]) -> T:
        await self._turn(queue)
        try:
            return await asyncio.wrap_future(self._threads.submit(step))
        finally:
            self._pass_on()

    async def _turn(self, queue: Turns) -> None:
        if self._turns:
            self._turns -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Given and taken back in one breath: the turn is another's.
            if not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        for queue in (self._urgent, self._usual):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._turns += 1
