"""Where memos are put together: processes of their own, a few, each with many memos.

Not threads: encoding takes and gives back the interpreter's lock for every frame, so the event loop and two
encoding threads kept each other waiting while a fifth of the machine was idle.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from services.synthesis.domain import MemoLost, Order, Piece
from services.synthesis.mixing import wire
from services.synthesis.mixing.process import LOOK_SECONDS, MixingProcess

# More of them than this are of use to few machines, and each has 50 MB.
_MOST_UNASKED: Final = 4


class Mixing:
    """A memo stays in the process that it was opened in; each has one step at a time."""

    def __init__(
        self, processes: int, loops: BinaryIO, watermark: str = "", look_seconds: float = LOOK_SECONDS
    ) -> None:
        """0 processes are one for each core, at most four. `loops` is what `Ambience.lent` returned, open."""
        size = processes or min(os.cpu_count() or 1, _MOST_UNASKED)
        self._processes = [MixingProcess(loops.fileno(), watermark, look_seconds) for _ in range(size)]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def start(self) -> None:
        """Returns when the first memo will be as quick as the rest. Raises MemoLost if one stays away."""
        started = await asyncio.gather(*(each.start() for each in self._processes), return_exceptions=True)
        for failure in started:
            if failure is not None:
                raise failure

    async def close(self) -> None:
        await asyncio.gather(*(process.close() for process in self._processes))

    @contextmanager
    def memo(self, order: Order, sample_rate: int) -> Iterator["MemoAtWork"]:
        """Raises MemoLost when no process runs. Leaving it gives up what was not finished."""
        memo = MemoAtWork(self._least_busy, order, sample_rate)
        try:
            yield memo
        finally:
            memo.close()

    def _least_busy(self) -> MixingProcess:
        running = [process for process in self._processes if process.running]
        if not running:
            raise MemoLost("Memos cannot be put together right now.")
        return min(running, key=lambda process: process.memos)


class MemoAtWork:
    """Takes PCM as it is spoken; gives out whole frames, the tag and the lead-in with the first.

    Every call raises MemoLost when the process has died with all that it had of the memo; before anything was
    heard, another one takes it over, once.
    """

    def __init__(self, choose: Callable[[], MixingProcess], order: Order, sample_rate: int) -> None:
        self._choose = choose
        self._opening = wire.opening(order, sample_rate)
        self._open()
        self.begun = False
        self.content_type = ""

    async def add(self, pcm: bytes, turn: float) -> bytes:
        """What can be sent now. The first frames come with the first PCM, however little it is, and at once;
        the others before all whose turn is a later moment of the monotonic clock."""
        if self.begun:
            return (await self._process.ask(wire.ADD, self._number, turn, pcm))[1]
        self.begun = True
        try:
            said, audio = await self._process.ask(wire.FIRST, self._number, turn, pcm)
        except MemoLost:
            self._open()
            said, audio = await self._process.ask(wire.FIRST, self._number, turn, pcm)
        self.content_type = said["content_type"]
        return audio

    async def finish(self, held: bytes, turn: float) -> Piece:
        """The rest. Raises SpeechFailed when the PCM ended in half a sample, or was nothing but silence."""
        said, audio = await self._process.ask(wire.END, self._number, turn, held)
        return Piece(audio, wire.summed_up(said))

    def close(self) -> None:
        self._process.drop(self._number)

    def _open(self) -> None:
        self._process = self._choose()
        self._number = self._process.open(self._opening)
