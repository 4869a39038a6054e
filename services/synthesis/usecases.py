"""What a caller can ask for: learn a voice, speak a memo, hear a background."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.kernel.errors import ServiceError
from services.synthesis.ahead import Ahead, heard_ahead
from services.synthesis.ambience import Ambience
from services.synthesis.domain import (
    Background,
    EngineNotInstalled,
    ModelNotFound,
    Order,
    Piece,
    ProviderClosedToUs,
    Sound,
    SoundNotFound,
    SpeechFailed,
    sample_seconds,
)
from services.synthesis.mixing import Mixing
from services.synthesis.ports import Engine, SpeaksAsWritten, SpeaksByModel
from services.synthesis.preview import Previews
from services.synthesis.seats import Seats

log = structlog.get_logger()

MEMOS = Gauge("synthesis_memos_in_progress", "Memos being spoken, mixed or sent right now.")
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
ENGINE_SECONDS = Histogram(
    "synthesis_engine_seconds",
    "Time spent waiting for the engine, for a whole memo.",
    ["engine"],
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 60),
)
SPOKEN = Counter(
    "synthesis_spoken_total",
    "Memos that engines were asked for, by outcome: whole, left by the listener, or the failure's reason; "
    "PROVIDER_CLOSED_TO_US when it is for somebody here to pay, or to change a key.",
    ["engine", "outcome"],
)
REAL_TIME_RATIO = Histogram(
    "synthesis_real_time_ratio",
    "Time spent waiting for the engine, divided by the length of the audio; above 1 listeners wait.",
    ["engine"],
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 4),
)

# The first step is small because a listener waits for it, the others because memos share processors.
_FIRST_STEP_SECONDS: Final = 0.1
_STEP_SECONDS: Final = 1.0
# Each step costs its way to another process, so small chunks wait for each other: for as much as this share
# of what the listener has already, who then still hears no gap if the engine is barely faster than speech.
_WAITING_SHARE: Final = 0.5
# With so much a player has a start, and whoever came earlier goes before.
_START_SECONDS: Final = 1.0
# A memo is rarely longer; of a long speech no more lies here in memory.
_AHEAD_SECONDS: Final = 20.0

Engines = Mapping[str, Engine]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where memos are made, and how many at once."""

    seats: Seats
    mixing: Mixing


@dataclass(frozen=True, slots=True)
class Showroom:
    """Where anybody may listen to backgrounds. Seats and thread are its own: visitors take no performer's."""

    seats: Seats
    thread: Executor
    previews: Previews
    ambience: Ambience

    async def make(self, make: Callable[..., bytes], *of: object) -> bytes:
        """Raises EngineOverloaded when too many are being made."""
        with self.seats.one():
            return await asyncio.get_running_loop().run_in_executor(self.thread, make, *of)


async def enrol_voice(engines: Engines, engine: str, pcm: bytes, sample_rate: int) -> bytes:
    """A profile of the voice. Raises SampleUnusable, EngineNotInstalled, and what the engine raises."""
    seconds = sample_seconds(pcm, sample_rate)
    profile = await _installed(engines, engine).enrol(pcm, sample_rate)
    log.info("voice_enrolled", engine=engine, sample_seconds=round(seconds, 1))
    return profile


async def speak_memo(engines: Engines, desk: Desk, order: Order) -> AsyncGenerator[Piece, None]:
    """Pieces as they are made, the summary in the last; consume inside `aclosing`.

    Raises EngineNotInstalled, ModelNotFound, EngineOverloaded, SpeechFailed when the engine says nothing,
    and what the engine raises. Whoever stops listening stops the engine.
    """
    engine = _installed(engines, order.engine)
    model = engine.model if isinstance(engine, SpeaksByModel) else engine.name
    if order.model not in {"", engine.name, model}:
        raise ModelNotFound(f"This voice is spoken by {model}, not by the model you asked for.")
    times = _Times(characters=len(order.utterance.text))
    with (
        desk.seats.one(),
        MEMOS.track_inprogress(),
        _outcome_counted(engine.name),
        desk.mixing.memo(order, engine.sample_rate) as memo,
    ):
        # What comes after this sentence is perhaps not even written: nothing waits for it.
        steps = _Steps(engine.sample_rate, _WAITING_SHARE if order.further is None else 0.0)
        most = int(_AHEAD_SECONDS * 2 * engine.sample_rate)
        async with heard_ahead(_speech(engine, order, times), most) as speech:
            while (pcm := await times.next_chunk(speech)) is not None:
                for part in steps.ready(pcm):
                    audio = await memo.add(part, steps.turn)
                    if not audio:
                        continue
                    if times.first_audio:
                        yield Piece(audio)
                    else:
                        times.sent(engine.name)
                        yield Piece(audio, content_type=memo.content_type, model=model)
        if not memo.begun:
            raise SpeechFailed("The speech engine said nothing.")
        last = await memo.finish(steps.held, steps.turn)
        times.finished(order, last)
        yield last


@contextmanager
def _outcome_counted(engine: str) -> Iterator[None]:
    outcome = "left"
    try:
        yield
        outcome = "whole"
    except ProviderClosedToUs:
        outcome = "PROVIDER_CLOSED_TO_US"
        raise
    except Exception as failure:
        outcome = failure.reason if isinstance(failure, ServiceError) else "INTERNAL"
        raise
    finally:
        SPOKEN.labels(engine, outcome).inc()


async def hear_sound(showroom: Showroom, name: str, volume_percent: int) -> bytes:
    """One turn of its loop as MP3. Raises SoundNotFound, EngineOverloaded when too many ask for new ones."""
    sound = Sound.named(name)
    if sound is Sound.OFF:
        raise SoundNotFound("Silence has no recording.")
    if sound is Sound.FAN and volume_percent == 100:
        # What the shipped client plays: made at start, so that no visitor is ever refused it.
        return showroom.ambience.fan_mp3
    return await showroom.make(showroom.ambience.mp3, sound, volume_percent)


async def hear_preview(showroom: Showroom, background: Background) -> bytes:
    """A few seconds of MP3. Raises EngineOverloaded when too many are being made."""
    return await showroom.make(showroom.previews.mp3, background)


def _installed(engines: Engines, name: str) -> Engine:
    try:
        return engines[name]
    except KeyError:
        raise EngineNotInstalled(f"This server runs no speech engine named {name!r}.") from None


def _speech(engine: Engine, order: Order, times: "_Times") -> AsyncGenerator[bytes, None]:
    """Of a text that is still being written, as soon as the engine can."""
    if order.further is None:
        return engine.speak(order.utterance, order.voice)
    further = times.counted(order.further)
    if isinstance(engine, SpeaksAsWritten):
        return engine.speak_as_written(order.utterance, further, order.voice)
    return _once_written(engine, order, further)


async def _once_written(
    engine: Engine, order: Order, further: AsyncIterator[str]
) -> AsyncGenerator[bytes, None]:
    text = "".join([order.utterance.text, *[more async for more in further]])
    async with aclosing(engine.speak(replace(order.utterance, text=text), order.voice)) as speech:
        async for pcm in speech:
            yield pcm


class _Steps:
    """What is mixed at once. Cuts may fall inside a sample; the leveller puts it together again."""

    def __init__(self, sample_rate: int, waiting_share: float) -> None:
        self._bytes_per_second = 2 * sample_rate
        self._waiting_share = waiting_share
        self._begun = monotonic()
        self._taken = 0
        self.held = b""
        # In the order of arrival, so that memos end in it too; but whose listener has heard next to nothing
        # goes before those that came a little earlier and have a start.
        self.turn = self._begun

    def ready(self, pcm: bytes) -> Iterator[bytes]:
        """All that is there by now, or nothing while it is too little; the first PCM never is."""
        self.held += pcm
        most = self._bytes(_STEP_SECONDS)
        if len(self.held) < min(most, self._taken * self._waiting_share):
            return
        while self.held:
            until = most if self._taken else self._bytes(_FIRST_STEP_SECONDS)
            part, self.held = self.held[:until], self.held[until:]
            self.turn = self._begun + min(self._taken / self._bytes_per_second, _START_SECONDS)
            self._taken += len(part)
            yield part

    def _bytes(self, seconds: float) -> int:
        return int(self._bytes_per_second * seconds)


@dataclass(slots=True)
class _Times:
    """When things happened to one memo, and how much was to be said."""

    characters: int
    asked: float = field(default_factory=perf_counter)
    engine_seconds: float = 0.0
    first_chunk: float | None = None
    first_audio: float | None = None

    async def next_chunk(self, speech: Ahead) -> bytes | None:
        """None when all was said; the time it took counts as the engine's."""
        waiting = perf_counter()
        chunk = await speech.next_chunk()
        now = perf_counter()
        self.engine_seconds += now - waiting
        if chunk and self.first_chunk is None:
            self.first_chunk = now
        return chunk

    async def counted(self, further: AsyncIterator[str]) -> AsyncGenerator[str, None]:
        async for text in further:
            self.characters += len(text)
            yield text

    def sent(self, engine: str) -> None:
        if self.first_audio is None and self.first_chunk is not None:
            self.first_audio = perf_counter()
            FIRST_AUDIO_SECONDS.labels(engine).observe(self.first_audio - self.asked)
            FIRST_MIX_SECONDS.labels(engine).observe(self.first_audio - self.first_chunk)

    def finished(self, order: Order, last: Piece) -> None:
        seconds = last.summary.duration_seconds if last.summary else 0.0
        ratio = self.engine_seconds / seconds
        REAL_TIME_RATIO.labels(order.engine).observe(ratio)
        ENGINE_SECONDS.labels(order.engine).observe(self.engine_seconds)
        log.info(
            "memo_spoken",
            recording_id=order.labels.recording_id,
            engine=order.engine,
            characters=self.characters,
            audio_seconds=round(seconds, 2),
            first_audio_seconds=round((self.first_audio or self.asked) - self.asked, 3),
            real_time_ratio=round(ratio, 3),
        )
