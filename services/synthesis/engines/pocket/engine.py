"""The engine's face to the service: turns, limits and cancellation around one thread that has the models."""

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from importlib.util import find_spec
from typing import Final, TypeVar

import structlog

from services.kernel.settings import read
from services.synthesis.domain import (
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    Utterance,
    VoiceNotEnrolled,
    all_of,
    nothing_more,
)
from services.synthesis.engines.pocket.settings import PocketSettings
from services.synthesis.engines.pocket.voicebox import Voicebox

T = TypeVar("T")

log = structlog.get_logger()

# Sentences are spoken together up to here: the model reads a few words badly, and others wait meanwhile.
_LONGEST_PART: Final = 200
_SENTENCE_ENDS: Final = re.compile(r"(?<=[.!?…])\s+")


class PocketEngine:
    """`stability`, `similarity`, `style` and `speed` have no counterpart in the model and change nothing."""

    name = "pocket"
    sample_rate = 24_000

    def __init__(self, settings: PocketSettings | None = None) -> None:
        """Raises ValueError where the optional package is not installed."""
        if find_spec("pocket_tts") is None:
            raise ValueError("its package is not installed: uv pip install 'pocket-tts>=4.0.1,<4.1'")
        self._settings = settings or read(PocketSettings)
        self._thread: ThreadPoolExecutor | None = None
        self._voicebox: Voicebox | None = None
        self._wanted = 0
        self._speaking: set[threading.Event] = set()

    async def start(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pocket")
        voicebox = await self._in_thread(Voicebox, self._settings)
        if voicebox.sample_rate != self.sample_rate:
            raise EngineUnavailable(f"the models speak at {voicebox.sample_rate} samples a second")
        await self._in_thread(voicebox.warm_up)
        self._voicebox = voicebox

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        with self._admitted() as voicebox:
            return await self._in_thread(voicebox.enrol, pcm, sample_rate)

    def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        return self.speak_as_written(utterance, nothing_more(), voice)

    async def speak_as_written(
        self, utterance: Utterance, further: AsyncIterator[str], voice: EnrolledVoice
    ) -> AsyncGenerator[bytes, None]:
        language = utterance.language.replace("_", "-").split("-")[0].lower()
        if language not in self._settings.languages:
            raise LanguageNotSpoken(f"This voice does not speak {utterance.language!r}.")
        if not voice.profile:
            raise VoiceNotEnrolled("This voice has to be learnt again.")
        if not any(map(str.isalnum, utterance.text)):
            raise LanguageNotSpoken("The text holds nothing that can be said.")
        stop = threading.Event()
        parts = _parts(all_of(utterance.text, further))
        with self._admitted() as voicebox:
            self._speaking.add(stop)
            try:
                async for part in parts:
                    said = _Said()
                    # Another part is only begun when this one was taken: nobody's memo piles up here.
                    speech = voicebox.speak(voice.profile, language, part, stop)
                    self._submit(said.say, speech).add_done_callback(said.end)
                    async for pcm in said:
                        yield pcm
                    if stop.is_set():
                        raise EngineUnavailable("The voice stopped speaking.")
            finally:
                await parts.aclose()
                # The thread is not waited for: it stops within a frame, and others come after it anyway.
                stop.set()
                self._speaking.discard(stop)

    async def close(self) -> None:
        thread, self._thread, self._voicebox = self._thread, None, None
        for stop in self._speaking:
            stop.set()
        if thread:
            await asyncio.to_thread(thread.shutdown, wait=True, cancel_futures=True)

    @contextmanager
    def _admitted(self) -> Iterator[Voicebox]:
        if self._voicebox is None:
            raise EngineUnavailable("The voice cannot speak right now.")
        if self._wanted >= self._settings.queue_limit:
            raise EngineOverloaded("Too many memos are being spoken right now.")
        self._wanted += 1
        try:
            yield self._voicebox
        finally:
            self._wanted -= 1

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.wrap_future(self._submit(work, *arguments))

    def _submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        if self._thread is None:
            raise EngineUnavailable("The voice cannot speak right now.")
        return self._thread.submit(work, *arguments)


class _Said:
    """What the thread says, piece by piece, for the loop that asked."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()

    def say(self, speech: Iterator[bytes]) -> None:
        """Runs in the thread."""
        try:
            for pcm in speech:
                self._hand_over(pcm)
        except BaseException as error:
            self._hand_over(error)
        else:
            self._hand_over(None)

    def end(self, work: Future[None]) -> None:
        """Of work that was never begun, too."""
        if work.cancelled():
            self._hand_over(EngineUnavailable("The voice stopped speaking."))

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        while (piece := await self._pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def _hand_over(self, piece: bytes | BaseException | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)


async def _parts(texts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(texts):
        async for text in texts:
            part = ""
            for sentence in _SENTENCE_ENDS.split(text.strip()):
                if part and len(part) + len(sentence) >= _LONGEST_PART:
                    yield part
                    part = ""
                part = f"{part} {sentence}".strip()
            yield part
