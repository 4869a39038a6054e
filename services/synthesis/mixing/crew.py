"""Threads with one queue. A pool of the standard library has no order but that of arrival."""

import os
import sys
import threading
from collections.abc import Callable
from itertools import count
from queue import PriorityQueue


class Crew:
    """Takes steps in the order of their turns, lowest first, and then of their arrival."""

    def __init__(self, name: str, size: int, niceness: int) -> None:
        """`niceness` is how much lower than their process' the threads' priority is."""
        self._niceness = niceness
        self._numbers = count()
        # Turn, number of arrival, step: no two are equal, so steps are never compared.
        self._queue: PriorityQueue[tuple[float, int, Callable[[], None] | None]] = PriorityQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Steps that have not begun."""
        return self._queue.qsize()

    def put(self, turn: float, step: Callable[[], None]) -> None:
        """`step` raises nothing."""
        self._queue.put((turn, next(self._numbers), step))

    def close(self) -> None:
        """Waits for the steps that have begun; the others never begin."""
        for _ in self._threads:
            self._queue.put((float("-inf"), next(self._numbers), None))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        lower_priority(self._niceness)
        while (step := self._queue.get()[-1]) is not None:
            step()


def lower_priority(niceness: int) -> None:
    """Of the calling thread. Not on other systems, where it would change the whole process."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Anybody may lower it, and only some may raise it above their process'.
        given = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, given + niceness)
