"""One process that memos are put together in, seen from outside; `mixing_worker.py` is its inside."""

import asyncio
import json
import os
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter as Counted
from contextlib import suppress
from itertools import count
from typing import Any, Final

import structlog
from prometheus_client import Counter

from services.kernel.programs import environment
from services.synthesis.domain import MemoLost, SpeechFailed
from services.synthesis.mixing import wire

log = structlog.get_logger()

DIED = Counter(
    "synthesis_mixing_processes_died_total",
    "Mixing processes that ended while they were needed, or could not be started again.",
)

_MODULE: Final = "services.synthesis.mixing_worker"
_START_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0
# One that cannot be started must not keep a processor busy with trying.
_AGAIN_SECONDS: Final = 1.0
# One whose thread for first sounds, or the one for the rest, is asked and says nothing for so many looks in a
# row hangs; a step takes some 20 ms, and the rest waits for others. Looks, not seconds: a service that was
# stopped itself must not take that for its process' silence.
LOOK_SECONDS: Final = 1.0
_SILENT_LOOKS: Final = {True: 5, False: 10}

# What reading an answer raises when it is none: on a pipe that broke, or of a library that printed.
_GARBLED: Final = (OSError, ValueError, LookupError, struct.error)

Answer = tuple[dict[str, Any], bytes]


class MixingProcess:
    """Is started again whenever it dies; its memos are lost then, and their callers are told."""

    def __init__(self, loops: int, watermark: str, look_seconds: float) -> None:
        self._loops = loops
        self._watermark = watermark
        self._look_seconds = look_seconds
        self._numbers = count(1)
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._memos: set[int] = set()
        # Whether it is for the first sound, and who waits for it.
        self._asked: dict[int, tuple[bool, asyncio.Future[Answer]]] = {}
        self._answers = Counted[bool]()
        self.running = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def memos(self) -> int:
        """How many it has."""
        return len(self._memos)

    async def start(self) -> None:
        """Raises MemoLost."""
        process = await self._started()
        self._tasks = [asyncio.create_task(self._serve(process)), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """Nobody listens any more."""
        self.running = False
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._process is not None:
            await _ended(self._process)

    def open(self, opening: bytes) -> int:
        number = next(self._numbers)
        self._memos.add(number)
        self._write(wire.question(wire.OPEN, number, body=opening))
        return number

    def drop(self, number: int) -> None:
        self._asked.pop(number, None)
        if number in self._memos:
            self._memos.discard(number)
            self._write(wire.question(wire.DROP, number))

    async def ask(self, what: bytes, number: int, turn: float, body: bytes) -> Answer:
        """Raises MemoLost and SpeechFailed."""
        if number not in self._memos:
            raise _lost()
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = what == wire.FIRST, told
        self._write(wire.question(what, number, turn, body))
        return await told

    def _write(self, question: bytes) -> None:
        """Does not wait: of each memo there is one question at a time, so the seats bound what lies here."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(question)

    async def _started(self) -> Process:
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _MODULE, str(self._loops), self._watermark),
            stdin=PIPE,
            stdout=PIPE,
            env={**_watermark_settings(), **environment()},
            pass_fds=(self._loops,),
            limit=1 << 20,
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _answer(process)
        except (TimeoutError, asyncio.IncompleteReadError, *_GARBLED) as error:
            _kill(process)
            await _ended(process)
            raise MemoLost("A process that puts memos together does not start.") from error
        self.running = True
        return process

    async def _serve(self, process: Process) -> None:
        while True:
            try:
                while True:
                    self._tell(*await _answer(process))
            except (asyncio.IncompleteReadError, *_GARBLED) as error:
                _kill(process)
                await self._mourn(process, type(error).__name__)
            process = await self._started_again()

    async def _watch(self) -> None:
        silent = Counted[bool]()
        while True:
            await asyncio.sleep(self._look_seconds)
            waiting = {first for first, _ in self._asked.values()}
            for first, looks in _SILENT_LOOKS.items():
                silent[first] = silent[first] + 1 if first in waiting and not self._answers[first] else 0
                if silent[first] >= looks and self.running and self._process is not None:
                    log.error("mixing_process_hangs", pid=self.pid, memos=self.memos, first_sounds=first)
                    _kill(self._process)
                    silent.clear()
            self._answers.clear()

    def _tell(self, how: bytes, number: int, said: dict[str, Any], audio: bytes) -> None:
        if number not in self._asked:
            # Its listener left meanwhile.
            return
        first, told = self._asked.pop(number)
        self._answers[first] += 1
        if told.done():
            return
        if how == wire.DONE:
            told.set_result((said, audio))
        elif how == wire.REFUSED:
            told.set_exception(SpeechFailed(said["message"]))
        else:
            told.set_exception(RuntimeError(said["traceback"]))

    async def _mourn(self, process: Process, cause: str) -> None:
        self.running = False
        lost = len(self._memos)
        self._memos.clear()
        for _, told in self._asked.values():
            if not told.done():
                told.set_exception(_lost())
        self._asked.clear()
        await _ended(process)
        DIED.inc()
        status = process.returncode
        log.error("mixing_process_died", pid=process.pid, status=status, cause=cause, memos_lost=lost)

    async def _started_again(self) -> Process:
        while True:
            try:
                return await self._started()
            except (MemoLost, OSError) as error:
                DIED.inc()
                log.error("mixing_process_not_started", cause=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)


def _watermark_settings() -> dict[str, str]:
    """All that a mixing process needs of ours; keys and addresses are none of its business."""
    return {name: value for name, value in os.environ.items() if name.startswith("SYNTHESIS_WATERMARK")}


def _lost() -> MemoLost:
    return MemoLost("The memo was lost while it was put together.")


async def _answer(process: Process) -> tuple[bytes, int, dict[str, Any], bytes]:
    assert process.stdout is not None  # noqa: S101 - it was started with pipes
    how, number, said, audio = wire.ANSWER.unpack(await process.stdout.readexactly(wire.ANSWER.size))
    coded = await process.stdout.readexactly(said)
    return how, number, json.loads(coded) if coded else {}, await process.stdout.readexactly(audio)


async def _ended(process: Process) -> None:
    """With its input it ends by itself, and one that hangs is killed; the pipes are closed as well."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await process.communicate(b"")
    except TimeoutError:
        _kill(process)
        await process.communicate(b"")


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
