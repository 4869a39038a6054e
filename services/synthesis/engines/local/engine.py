"""The embedded engine's face to the service: turns, limits and recovery around one worker process."""

import asyncio
import multiprocessing
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import aclosing, suppress
from typing import Final, ParamSpec, TypeVar

import structlog

from services.synthesis.domain import (
    Delivery,
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    Utterance,
    VoiceNotEnrolled,
    all_of,
    nothing_more,
)
from services.synthesis.engines.local import worker
from services.synthesis.engines.local.clauses import Clause, clauses
from services.synthesis.engines.local.reading import unreadable
from services.synthesis.engines.local.spectrum import SAMPLE_RATE
from services.synthesis.engines.local.voice import Line

P = ParamSpec("P")
T = TypeVar("T")

LANGUAGES: Final = ("en", "es")
# One task computes and one waits in the pipe, so that the worker never idles between two; whatever
# waits here instead can still be cancelled.
_TASKS_WITH_WORKER: Final = 2
# More threads than this make a clause no faster.
_MOST_THREADS: Final = 4

log = structlog.get_logger()


class LocalEngine:
    """English and Spanish in a voice adapted to a sample, computed in a process of its own.

    `queue_limit` is how many clauses and enrolments may be wanted at once; each request wants one
    at a time, so it is also the number of callers. A caller beyond it is refused at once.
    """

    name = "local"
    sample_rate = SAMPLE_RATE

    def __init__(self, *, queue_limit: int = 32, threads: int | None = None) -> None:
        self._queue_limit = queue_limit
        self._threads = threads or min(_MOST_THREADS, _usable_cores())
        self._turns = asyncio.Semaphore(_TASKS_WITH_WORKER)
        self._wanted = 0
        self._pool: ProcessPoolExecutor | None = None

    async def start(self) -> None:
        if self._pool is None:
            self._pool = self._new_pool()
        await self._in_turn(worker.warm_up)

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        self._admit()
        return await self._in_turn(worker.enrol, pcm, sample_rate)

    def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        return self.speak_as_written(utterance, nothing_more(), voice)

    async def speak_as_written(
        self, utterance: Utterance, further: AsyncIterator[str], voice: EnrolledVoice
    ) -> AsyncGenerator[bytes, None]:
        language = _spoken_language(utterance.language)
        if not voice.profile:
            raise VoiceNotEnrolled("This voice has to be learnt again.")
        _check_is_readable(utterance.text)
        self._admit()
        spoken = False
        async with aclosing(all_of(utterance.text, further)) as texts:
            async for text in texts:
                _check_is_readable(text)
                lines = [_line(clause, language, utterance.delivery) for clause in clauses(text)]
                async with aclosing(self._said(lines, voice.profile)) as speech:
                    async for pcm in speech:
                        spoken = True
                        yield pcm
        if not spoken:
            raise LanguageNotSpoken(f"The text holds nothing that can be said in {language!r}.")

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool:
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    async def _said(self, lines: Sequence[Line], profile: bytes) -> AsyncGenerator[bytes, None]:
        """The next line is computed while the caller plays this one."""
        ahead: asyncio.Task[bytes] | None = None
        try:
            for line in lines:
                pcm = await ahead if ahead else b""
                ahead = self._in_turn(worker.speak, profile, line)
                if pcm:
                    yield pcm
            if ahead and (pcm := await ahead):
                yield pcm
        finally:
            if ahead:
                ahead.cancel()
                # Nobody listens to it any more, whatever became of it.
                # nosemgrep: dev.semgrep.failure-passed-over
                with suppress(asyncio.CancelledError, Exception):
                    await ahead

    def _admit(self) -> None:
        """Only for what starts a request: a text that was begun is also finished."""
        if self._pool is None:
            raise EngineUnavailable("The voice cannot speak right now.")
        if self._wanted >= self._queue_limit:
            raise EngineOverloaded("Too many memos are being spoken right now.")

    def _in_turn(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Task[T]:
        self._wanted += 1
        running = asyncio.create_task(self._when_free(task, *args, **kwargs))
        # Not a `finally` inside: a task that is cancelled before it starts never gets there.
        running.add_done_callback(self._done_with)
        return running

    def _done_with(self, _: asyncio.Task[T]) -> None:
        self._wanted -= 1

    async def _when_free(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turns:
            return await self._submit(task, *args, **kwargs)

    async def _submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        pool = self._pool
        if pool is None:
            raise EngineUnavailable("The voice cannot speak right now.")
        try:
            return await asyncio.wrap_future(pool.submit(task, *args, **kwargs))
        except BrokenProcessPool as error:
            self._replace(pool)
            raise EngineUnavailable("The voice stopped speaking.") from error

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        """Every task of a broken pool fails; the first to notice starts its successor warming."""
        if self._pool is not broken:
            return
        log.warning("speech_worker_died", engine=self.name)
        broken.shutdown(wait=False)
        self._pool = self._new_pool()
        self._pool.submit(worker.warm_up)

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            # A fork would copy this process's threads' locks and its event loop.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.prepare,
            initargs=(os.getpid(), self._threads),
        )


def _usable_cores() -> int:
    # Not every system says which cores this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _line(clause: Clause, language: str, delivery: Delivery) -> Line:
    return Line(
        text=clause.text,
        language=language,
        speed=delivery.speed,
        similarity=delivery.similarity,
        pause_seconds=clause.pause_seconds,
    )


def _check_is_readable(text: str) -> None:
    """A memo with a hole would be kept, and charged, as a whole one."""
    if unreadable(text):
        raise LanguageNotSpoken("The text holds something that this voice cannot read.")


def _spoken_language(tag: str) -> str:
    language = tag.replace("_", "-").split("-")[0].lower()
    if language not in LANGUAGES:
        raise LanguageNotSpoken(f"This voice does not speak {tag!r}.")
    return tag.replace("_", "-").lower()
