"""What a caller can ask for: learn a voice, speak a memo."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import structlog
from prometheus_client import Histogram

from services.synthesis.ambience import Fan
from services.synthesis.domain import EngineNotInstalled, Order, Piece, SpeechFailed, sample_seconds
from services.synthesis.memo import Memo
from services.synthesis.ports import Engine
from services.synthesis.studio import Studio

log = structlog.get_logger()

FIRST_AUDIO_SECONDS = Histogram(
    "synthesis_first_audio_seconds",
    "Time from the request to the first frames handed out.",
    ["engine"],
    # Fine around 300 ms, where a listener starts to notice the wait.
    buckets=(0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1, 1.5, 2, 3, 5),
)
FIRST_MIX_SECONDS = Histogram(
    "synthesis_first_mix_seconds",
    "The part of it that is ours: from the engine's first audio to the first frames handed out.",
    ["engine"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
)
REAL_TIME_RATIO = Histogram(
    "synthesis_real_time_ratio",
    "Time spent waiting for the engine, divided by the length of the audio; above 1 listeners wait.",
    ["engine"],
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 4),
)

# The first step is small because a listener waits for it, the others because memos share threads.
_FIRST_STEP_SECONDS: Final = 0.1
_STEP_SECONDS: Final = 1.0

Engines = Mapping[str, Engine]


async def enrol_voice(engines: Engines, engine: str, pcm: bytes, sample_rate: int) -> bytes:
    """A profile of the voice. Raises SampleUnusable, EngineNotInstalled, and what the engine raises."""
    seconds = sample_seconds(pcm, sample_rate)
    profile = await _installed(engines, engine).enrol(pcm, sample_rate)
    log.info("voice_enrolled", engine=engine, sample_seconds=round(seconds, 1))
    return profile


async def speak_memo(engines: Engines, studio: Studio, fan: Fan, order: Order) -> AsyncGenerator[Piece, None]:
    """Pieces as they are made, the summary in the last; consume inside `aclosing`.

    Raises EngineNotInstalled, EngineOverloaded, SpeechFailed when the engine says nothing, and what
    the engine raises. Whoever stops listening stops the engine.
    """
    engine = _installed(engines, order.engine)
    times = _Times()
    with studio.seat():
        memo = await studio.run(Memo, engine.sample_rate, order.labels, fan.loop, order.background_percent)
        async with aclosing(engine.speak(order.utterance, order.voice)) as speech:
            while (pcm := await times.next_chunk(speech)) is not None:
                for part in _steps(pcm, engine.sample_rate, first=not memo.begun):
                    if audio := await studio.run(memo.add, part):
                        times.sent(engine.name)
                        yield Piece(audio)
        if not memo.begun:
            raise SpeechFailed("The speech engine said nothing.")
        last = await studio.run(memo.finish)
        times.finished(order, last)
        yield last


def _installed(engines: Engines, name: str) -> Engine:
    try:
        return engines[name]
    except KeyError:
        raise EngineNotInstalled(f"This server runs no speech engine named {name!r}.") from None


def _steps(pcm: bytes, sample_rate: int, *, first: bool) -> Iterator[bytes]:
    """Cuts may fall inside a sample; the leveller puts it together again."""
    at = 0
    while at < len(pcm):
        seconds = _FIRST_STEP_SECONDS if first and at == 0 else _STEP_SECONDS
        until = at + int(2 * sample_rate * seconds)
        yield pcm[at:until]
        at = until


@dataclass(slots=True)
class _Times:
    """When things happened to one memo."""

    asked: float = field(default_factory=perf_counter)
    engine_seconds: float = 0.0
    first_chunk: float | None = None
    first_audio: float | None = None

    async def next_chunk(self, speech: AsyncGenerator[bytes, None]) -> bytes | None:
        """None when all was said; the time it took counts as the engine's."""
        waiting = perf_counter()
        chunk = await anext(speech, None)
        now = perf_counter()
        self.engine_seconds += now - waiting
        if chunk and self.first_chunk is None:
            self.first_chunk = now
        return chunk

    def sent(self, engine: str) -> None:
        if self.first_audio is None and self.first_chunk is not None:
            self.first_audio = perf_counter()
            FIRST_AUDIO_SECONDS.labels(engine).observe(self.first_audio - self.asked)
            FIRST_MIX_SECONDS.labels(engine).observe(self.first_audio - self.first_chunk)

    def finished(self, order: Order, last: Piece) -> None:
        seconds = last.summary.duration_seconds if last.summary else 0.0
        ratio = self.engine_seconds / seconds
        REAL_TIME_RATIO.labels(order.engine).observe(ratio)
        log.info(
            "memo_spoken",
            recording_id=order.labels.recording_id,
            engine=order.engine,
            characters=len(order.utterance.text),
            audio_seconds=round(seconds, 2),
            first_audio_seconds=round((self.first_audio or self.asked) - self.asked, 3),
            real_time_ratio=round(ratio, 3),
        )
