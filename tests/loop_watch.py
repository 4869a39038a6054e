"""How long one callback kept an event loop, on a machine that has other things to do.

A late timer says little on a busy machine: the loop may only have waited for a processor. So a thread
looks at the loop's own thread every few milliseconds and counts, while it sees one and the same callback,
the time in which that callback ran or slept. Time in the queue for a processor does not count (Linux says
how much that was; elsewhere it counts).
"""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_LOOK_EVERY_SECONDS = 0.002
_CALLBACK = asyncio.events.Handle._run.__code__


class LoopWatch:
    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self.looks = 0
        self._thread = threading.get_ident()
        self._queued = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._over = threading.Event()

    @classmethod
    @contextmanager
    def watching(cls) -> Iterator["LoopWatch"]:
        """Watches the loop that runs this."""
        watch = cls()
        looking = threading.Thread(target=watch._look, daemon=True)
        looking.start()
        try:
            yield watch
        finally:
            watch._over.set()
            looking.join()

    def _look(self) -> None:
        # The frame itself is kept, so that no other can take its place in memory.
        seen, since = None, 0.0
        while not self._over.wait(_LOOK_EVERY_SECONDS):
            callback, now = self._callback(), self._lived()
            self.looks += 1
            if callback is None or callback is not seen:
                seen, since = callback, now
            self.longest_seconds = max(self.longest_seconds, now - since)

    def _callback(self) -> FrameType | None:
        frame = sys._current_frames().get(self._thread)
        while frame is not None and frame.f_code is not _CALLBACK:
            frame = frame.f_back
        return frame

    def _lived(self) -> float:
        """A clock that stands still while the thread waits for a processor."""
        now = time.perf_counter()
        try:
            return now - int(self._queued.read_text().split()[1]) / 1e9
        except OSError:
            return now
