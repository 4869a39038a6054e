"""Speech as a stream: credits and voice are held while it is spoken; what was made is paid for.

There is no journal. What a crash leaves ends by itself: the reservation and the lease expire.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from services.kernel.errors import ServiceError
from services.perform import saga
from services.perform.background import Background
from services.perform.domain import AudioSummary, Charge, Delivery, LeasedVoice, Preferences, Speaker
from services.perform.errors import AudioNotWhole, PerformanceTooSlow
from services.perform.places import Places
from services.perform.ports import Clock, Ports
from services.perform.saga import Step
from services.perform.script import Script
from services.perform.speaking import Words, speak_or_replace_voice
from services.perform.speech import (
    OWN_VOICE,
    KeyClaim,
    SpeechOrder,
    characters_made,
    check_voice,
    delivery,
)

log = structlog.get_logger()

T = TypeVar("T")

# Called when the audio is whole, before anybody pays for it.
Keep = Callable[[], Awaitable[None]]

SPEECHES = Counter("perform_speeches_total", "Speeches that ended, by outcome.", ["outcome"])
FIRST_AUDIO_SECONDS = Histogram(
    "perform_speech_first_audio_seconds",
    "Time from the request for a speech to its first byte of audio.",
    buckets=(0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1, 1.5, 2, 5),
)
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, _RETRIES = 0.5, 8.0, 10


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One call: its own id, who asks for what, under which Idempotency-Key (empty for none)."""

    speech_id: UUID
    user_id: str
    order: SpeechOrder
    key: str

    @property
    def claim(self) -> KeyClaim:
        return KeyClaim(self.speech_id, self.user_id, self.key, self.order.fingerprint)


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known when the first audio is there."""

    voice_source: str


@dataclass(slots=True)
class _Speech:
    """What one speech has gathered so far."""

    request: SpeechRequest
    began_at: datetime
    preferences: Preferences = field(init=False)
    delivery: Delivery = field(init=False)
    voice: LeasedVoice = field(init=False)
    # Set with the first audio, unless the speech service is of an older release.
    speaker: Speaker | None = None
    audio_bytes: int = 0
    whole: bool = False
    charge: Charge | None = None
    failure: ServiceError | None = None
    began: float = field(default_factory=perf_counter)

    @property
    def model(self) -> str:
        return self.speaker.model if self.speaker else self.voice.engine

    @property
    def characters(self) -> int:
        """How much of the text was made."""
        order = self.request.order
        if self.whole:
            return len(order.text)
        if not self.audio_bytes:
            return 0
        return characters_made(order, self.delivery.language, self.audio_bytes)


class SpeechStreaming:
    def __init__(
        self,
        ports: Ports,
        background: Background,
        now: Clock,
        *,
        places: Places,
        seconds: float,
    ) -> None:
        """So many `seconds` a speech may be waited for; what its listener takes does not count."""
        self._places = places
        self._seconds = seconds
        self._ports = ports
        self._background = background
        self._now = now
        # Nothing is paid for before the credits are set aside and there is a voice.
        self._held = ((Step("reserve", self._reserve), Step("lease", self._lease)),)

    async def speak(
        self, request: SpeechRequest, keep: Keep | None = None
    ) -> AsyncGenerator[Opening | bytes | Charge, None]:
        """The opening, the audio as it is made, and at the end what it cost. Consume inside `aclosing`.

        A listener who leaves stops the engine, and pays for what was made until then; where there is
        somebody to `keep` the whole, it is whole, kept and paid, or nothing. Raises PerformBusy.
        """
        with self._places.one():
            async with aclosing(self._speak_and_settle(request, keep)) as parts:
                async for part in parts:
                    yield part

    async def _speak_and_settle(
        self, request: SpeechRequest, keep: Keep | None
    ) -> AsyncGenerator[Opening | bytes | Charge, None]:
        speech = _Speech(request, self._now())
        try:
            audio = self._audio(speech)
            async with aclosing(audio), aclosing(_in_time(audio, self._seconds)) as parts:
                async for part in parts:
                    yield part
            if keep is not None:
                await keep()
        except (asyncio.CancelledError, GeneratorExit):
            self._end(speech, "left", 0 if keep else speech.characters)
            raise
        except Exception:
            await asyncio.shield(self._end(speech, "failed", 0))
            raise
        await asyncio.shield(self._end(speech, "spoken", speech.characters))
        if speech.charge is not None:
            yield speech.charge
        elif speech.failure is not None:
            raise speech.failure

    async def _prepare(self, speech: _Speech) -> None:
        request = speech.request
        if request.order.voice != OWN_VOICE:
            check_voice(request.order.voice, await self._ports.voices.clone_id(request.user_id))
        await saga.run(self._held, speech)
        speech.delivery = delivery(speech.preferences, request.order)

    async def _reserve(self, speech: _Speech) -> None:
        request, order = speech.request, speech.request.order
        speech.preferences = await self._ports.credits.reserve(
            request.user_id, request.speech_id, len(order.text), speech.began_at, order.named_model
        )

    async def _lease(self, speech: _Speech) -> None:
        request = speech.request
        speech.voice = await self._ports.voices.lease(request.user_id, request.speech_id)

    async def _audio(self, speech: _Speech) -> AsyncGenerator[Opening | bytes, None]:
        """As fast as it is listened to: a speech is too long to be held in memory."""
        await self._prepare(speech)
        request = speech.request
        script = Script.of(request.order.text)
        words = Words(request.speech_id, request.user_id, script, speech.delivery)
        async with aclosing(speak_or_replace_voice(self._ports, words, speech.voice)) as pieces:
            async for piece in pieces:
                if isinstance(piece, LeasedVoice):
                    speech.voice = piece
                elif isinstance(piece, Speaker):
                    speech.speaker = piece
                elif isinstance(piece, AudioSummary):
                    speech.whole = True
                else:
                    if not speech.audio_bytes:
                        FIRST_AUDIO_SECONDS.observe(perf_counter() - speech.began)
                        yield Opening(speech.voice.source)
                    speech.audio_bytes += len(piece)
                    yield piece
        if not (speech.whole and speech.audio_bytes):
            raise AudioNotWhole("The audio ended before it was whole.")

    def _end(self, speech: _Speech, outcome: str, characters: int) -> asyncio.Task[None]:
        """Whatever becomes of the caller. What cannot be given back now expires by itself."""
        return self._background.start(self._ended(speech, outcome, characters))

    async def _ended(self, speech: _Speech, outcome: str, characters: int) -> None:
        request = speech.request
        release = self._ports.voices.release(request.user_id, request.speech_id)
        self._background.start(_or_expired("voice", request, release))
        await self._pay(speech, characters)
        SPEECHES.labels(outcome).inc()
        log.info(
            "speech_ended",
            speech_id=str(request.speech_id),
            outcome=outcome,
            audio_format=request.order.audio_format,
            audio_bytes=speech.audio_bytes,
            characters=characters,
            credits=speech.charge.credits if speech.charge else None,
        )

    async def _pay(self, speech: _Speech, characters: int) -> None:
        request = speech.request
        if not characters:
            release = self._ports.credits.release(request.user_id, request.speech_id)
            await _or_expired("credits", request, release)
            return
        try:
            await self._settle(speech, characters)
        except ServiceError as error:
            speech.failure = error
            log.warning("speech_payment_delayed", speech_id=str(request.speech_id), cause=error.reason)
            self._background.start_retrying(self._settle_later(speech, characters))

    async def _settle(self, speech: _Speech, characters: int) -> None:
        request = speech.request
        speech.charge = await self._ports.credits.settle(
            request.user_id, request.speech_id, characters, speech.model
        )

    async def _settle_later(self, speech: _Speech, characters: int) -> None:
        pause = _FIRST_RETRY_SECONDS
        for _ in range(_RETRIES):
            await asyncio.sleep(pause)
            try:
                await self._settle(speech, characters)
                return
            except ServiceError:
                pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
        log.error("speech_not_paid", speech_id=str(speech.request.speech_id), characters=characters)


async def _in_time(parts: AsyncGenerator[T, None], seconds: float) -> AsyncGenerator[T, None]:
    """Raises PerformanceTooSlow when they are waited for longer than that, all in all.

    Only here, and in no call: who listens slowly would make the call too long, and owe nothing for what
    they heard; theirs is the caller's own deadline, which ends it as if they had left.
    """
    clock = asyncio.get_running_loop().time
    left = seconds
    while True:
        asked = clock()
        try:
            async with asyncio.timeout(left) as limit:
                part = await anext(parts, None)
        except TimeoutError:
            if limit.expired():
                raise PerformanceTooSlow("The speech took too long.") from None
            raise
        if part is None:
            return
        left -= clock() - asked
        yield part


async def _or_expired(what: str, request: SpeechRequest, release: Awaitable[None]) -> None:
    try:
        await release
    except ServiceError as error:
        log.warning("speech_left_to_expire", what=what, speech_id=str(request.speech_id), cause=error.reason)
