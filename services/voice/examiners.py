"""The processes that examine recordings: a bounded number, with a bounded queue and a time limit each.

Programs of their own instead of forks or a process pool: they import nothing of the service, they see
none of its secrets, and one that hangs on a hostile file is killed without disturbing the others.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from prometheus_client import Gauge, Histogram

from services.kernel.programs import environment
from services.voice.domain import VoiceStoreUnavailable
from services.voice.ports import NormalisedSample
from services.voice.refusals import FOUND_BY_EXAMINATION, SampleQueueFull, SampleRefused, SampleUnreadable
from services.voice.sample.wire import (
    EXAMINE,
    LENGTH,
    MOST_HEADER_BYTES,
    MOST_PART_BYTES,
    REREAD,
    SAMPLE_RATE,
)

log = structlog.get_logger()

EXAMINATION_SECONDS = Histogram(
    "voice_examination_seconds",
    "Time from taking a recording from the queue to its verdict.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10),
)
WAITING_RECORDINGS = Gauge("voice_waiting_recordings", "Recordings that wait to be examined.")

_START_SECONDS: Final = 30
# A process whose parent died ends itself after this many limits.
_ALARM_LIMITS: Final = 2
# Of its time, that a recording may keep a processor busy. An honest one needs a twentieth of it.
_PROCESSOR_SHARE: Final = 0.5
# What reading an answer raises that is not one of ours.
_GARBLED: Final = (LookupError, TypeError, ValueError)


class WorkerEnded(Exception):
    """The process ended, or answered what no honest one answers."""


class WorkerStuck(Exception):
    """The process took longer than it may, and not because it was busy with the recording."""


class Examiners:
    def __init__(
        self, workers: int, queue: int, seconds: int, processor_seconds: float | None = None
    ) -> None:
        limit = seconds * _PROCESSOR_SHARE if processor_seconds is None else processor_seconds
        self._workers = [_Worker(seconds, limit) for _ in range(workers)]
        self._idle: list[_Worker] = []
        self._queue = queue
        self._uploads: _Waiting = deque()
        # Performers wait for these, who are on stage: before all uploads, and never too many, because each
        # has a place among the performances.
        self._samples: _Waiting = deque()

    async def start(self) -> None:
        """Returns at once; the first recordings wait until the processes have loaded."""
        for worker in self._workers:
            await worker.start()
            self._hand_on(worker)

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close()

    async def examine(self, recording: bytes) -> NormalisedSample:
        if not self._idle and len(self._uploads) >= self._queue:
            raise SampleQueueFull("Too many recordings are being examined right now.")
        try:
            async with self._turn(self._uploads) as worker:
                with EXAMINATION_SECONDS.time():
                    return await worker.ask(EXAMINE, recording)
        except WorkerStuck as error:
            # A damaged one that goes round in circles uses up its processor time before.
            raise SampleQueueFull("This server is too busy to examine the recording right now.") from error
        except WorkerEnded as error:
            raise SampleUnreadable("The recording cannot be read; it may be damaged.") from error

    async def reread(self, mp3: bytes) -> NormalisedSample:
        """A sample as it was stored, without a verdict. Raises VoiceStoreUnavailable."""
        try:
            async with self._turn(self._samples) as worker:
                return await worker.ask(REREAD, mp3)
        except (SampleRefused, WorkerStuck, WorkerEnded) as error:
            # We wrote it ourselves, so somebody must look.
            log.error("voice_sample_not_reread", bytes=len(mp3), cause=type(error).__name__)
            raise VoiceStoreUnavailable("The voice sample cannot be read right now.") from error

    @asynccontextmanager
    async def _turn(self, queue: "_Waiting") -> AsyncIterator["_Worker"]:
        worker = self._idle.pop() if self._idle else await self._waited(queue)
        try:
            yield worker
        finally:
            self._hand_on(worker)

    async def _waited(self, queue: "_Waiting") -> "_Worker":
        turn: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._count()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn in queue:
                queue.remove(turn)
            elif not turn.cancelled():
                # It was given a worker at the same moment.
                self._hand_on(turn.result())
            raise
        finally:
            self._count()

    def _hand_on(self, worker: "_Worker") -> None:
        for queue in (self._samples, self._uploads):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(worker)
                    return
        self._idle.append(worker)

    def _count(self) -> None:
        WAITING_RECORDINGS.set(len(self._samples) + len(self._uploads))


class _Worker:
    def __init__(self, seconds: int, processor_seconds: float) -> None:
        self._seconds = seconds
        self._processor_seconds = processor_seconds
        self._process: Process | None = None
        self._ready = False

    async def start(self) -> None:
        module = "services.voice.sample.worker"
        self._ready = False
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module),
            *(str(self._seconds * _ALARM_LIMITS), str(self._processor_seconds)),
            stdin=PIPE,
            stdout=PIPE,
            env=environment(),
            limit=1 << 20,
        )

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        # Reads what is left, so that the pipes are closed as well.
        await process.communicate()

    async def ask(self, question: bytes, audio: bytes) -> NormalisedSample:
        """Raises a SampleRefused, WorkerStuck or WorkerEnded."""
        try:
            process = await self._started()
            async with asyncio.timeout(self._seconds):
                return await _answer(process, question, audio)
        except TimeoutError as error:
            log.warning("sample_examination_timed_out", bytes=len(audio))
            await self._restart()
            raise WorkerStuck from error
        except (WorkerEnded, OSError, asyncio.IncompleteReadError, *_GARBLED) as error:
            log.error("sample_examination_died", bytes=len(audio), cause=type(error).__name__)
            await self._restart()
            raise WorkerEnded from error
        except asyncio.CancelledError:
            # Its answer would be taken for the next recording's.
            await self._restart()
            raise

    async def _started(self) -> Process:
        if self._process is None:
            await self.start()
        assert self._process is not None  # noqa: S101 - start() has just set it
        if not self._ready:
            async with asyncio.timeout(_START_SECONDS):
                await _header(self._process)
            self._ready = True
        return self._process

    async def _restart(self) -> None:
        await self.close()
        await self.start()


_Waiting = deque[asyncio.Future[_Worker]]


async def _answer(process: Process, question: bytes, audio: bytes) -> NormalisedSample:
    assert process.stdin is not None  # noqa: S101 - it was started with pipes
    process.stdin.write(question + LENGTH.pack(len(audio)) + audio)
    await process.stdin.drain()
    header = await _header(process)
    if "refused" in header:
        raise FOUND_BY_EXAMINATION[header["refused"]](header["message"])
    pcm = await _part(process, header["pcm_bytes"])
    mp3 = await _part(process, header["mp3_bytes"])
    return NormalisedSample(
        hash=header["hash"],
        pcm=pcm,
        sample_rate=SAMPLE_RATE,
        mp3=mp3,
        seconds=header["seconds"],
        transcoded=header["transcoded"],
    )


async def _header(process: Process) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it was started with pipes
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    if length > MOST_HEADER_BYTES:
        raise WorkerEnded(f"a header of {length} bytes")
    header: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
    return header


async def _part(process: Process, length: int) -> bytes:
    assert process.stdout is not None  # noqa: S101 - it was started with pipes
    if not 0 < length <= MOST_PART_BYTES:
        raise WorkerEnded(f"a part of {length} bytes")
    return await process.stdout.readexactly(length)
