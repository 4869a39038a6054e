"""Where memos are put together: a few threads, and seats for as many memos as they can serve."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from queue import PriorityQueue
from time import monotonic
from typing import Any, Final, ParamSpec, TypeVar

from services.synthesis.domain import EngineOverloaded

P = ParamSpec("P")
T = TypeVar("T")

# Encoding takes what the event loop, the gateway and the database leave: who asks for something small must
# not wait for it. Not more, because a thread that is put off may hold what the event loop needs.
_NICENESS: Final = 5


class Studio:
    """A memo has at most one step waiting for a thread, so the seats also bound the queues.

    Whoever has a seat keeps it to the end: a memo that has begun is not refused halfway. Steps that a
    listener hears silence for have threads of their own; those that only keep ahead of the player are taken
    in the order of their turns, lowest first.
    """

    def __init__(self, seats: int, threads: int = 0) -> None:
        self.free = seats
        size = threads or os.cpu_count() or 1
        self._urgent = _Crew("studio-first", size, niceness=0)
        self._usual = _Crew("studio", size, niceness=_NICENESS)

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
        return await self._usual.do(monotonic(), partial(step, *args, **kwargs))

    async def run_in_turn(self, turn: float, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Before all whose turn is a later moment of the monotonic clock; `run` takes the present one."""
        return await self._usual.do(turn, partial(step, *args, **kwargs))

    async def hurry(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Beside all that waits in `run`: somebody waits for the first sound."""
        return await self._urgent.do(monotonic(), partial(step, *args, **kwargs))

    def close(self) -> None:
        """Waits for the steps that have begun; the others never begin."""
        self._urgent.close()
        self._usual.close()


class _Crew:
    """Threads with one queue. A pool of the standard library has no order but that of arrival."""

    def __init__(self, name: str, size: int, niceness: int) -> None:
        self._niceness = niceness
        self._numbers = count()
        # Turn, number of arrival, step: no two are equal, so steps are never compared.
        self._queue: PriorityQueue[tuple[float, int, _Step | None]] = PriorityQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    async def do(self, turn: float, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._put(turn, _Step(work, outcome, loop))
        return await outcome

    def close(self) -> None:
        for _ in self._threads:
            self._put(float("-inf"), None)
        for thread in self._threads:
            thread.join()
        while not self._queue.empty():
            if step := self._queue.get()[-1]:
                step.outcome.cancel()

    def _put(self, turn: float, step: "_Step | None") -> None:
        self._queue.put((turn, next(self._numbers), step))

    def _work(self) -> None:
        if sys.platform == "linux":
            # There a thread has a priority of its own; elsewhere this would change the whole process. Anybody
            # may lower it, and only some may raise it above their process'.
            thread = threading.get_native_id()
            given = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, given + self._niceness)
        while (step := self._queue.get()[-1]) is not None:
            step.take()


@dataclass(frozen=True, slots=True)
class _Step:
    work: Callable[[], Any]
    outcome: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def take(self) -> None:
        """In a thread. Whoever left while it waited is not worked for."""
        if self.outcome.cancelled():
            return
        try:
            result, failure = self.work(), None
        except BaseException as error:
            result, failure = None, error
        # A loop that has ended has nobody waiting.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._tell, result, failure)

    def _tell(self, result: object, failure: BaseException | None) -> None:
        """In the event loop. Whoever left meanwhile is not told."""
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(failure)
