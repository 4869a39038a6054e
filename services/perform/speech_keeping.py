"""Speech under an Idempotency-Key: made to its end whoever listens, kept for a day, given again."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from services.kernel.errors import ServiceError
from services.kernel.ranges import Span
from services.kernel.replay import KeyReused
from services.perform.background import Background
from services.perform.domain import Charge
from services.perform.errors import AudioNotWhole, SpeechUnderWay
from services.perform.places import Memory
from services.perform.ports import Blobs, Clock, SpeechKeys
from services.perform.sound import Sound
from services.perform.speech import HeldKey, KeyClaim, Spoken
from services.perform.speech_streaming import Opening, SpeechRequest, SpeechStreaming

log = structlog.get_logger()

# Longer than any speech may take: then whoever held the key is gone.
LONGEST_SPEECH = timedelta(minutes=5)
# Twelve minutes as they are, 48 kB a second; what is longer is an engine that does not stop.
_MOST_AUDIO_BYTES = 36 << 20
# Five seconds to sixteen: what is given again is read as it is listened to.
_READ_BYTES = 256 << 10
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 0.5
# Until a key that may be ours is given back: long enough for a claim that is still on its way to arrive.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, _RETRIES = 0.25, 8.0, 10


@dataclass(slots=True)
class _SharedSpeech:
    """A speech that its listeners share while it is made."""

    fingerprint: str
    # What its Opening and its Charge say; there before the first audio, and before the end.
    voice_source: str = ""
    charge: Charge | None = None
    sound: Sound = field(default_factory=Sound)
    # Its maker and its listeners: who holds it in memory.
    holders: int = 0
    # There may be audio of it in the store; then its key leads there.
    stored: bool = False
    kept: bool = False


@dataclass(frozen=True, slots=True)
class _StoredSpeech:
    """One that is made already, to be read from the store."""

    user_id: str
    speech_id: UUID
    voice_source: str
    charge: Charge


@dataclass(frozen=True, slots=True)
class SpeechShelf:
    """Where what was spoken is held and kept, how it is found there, and for how long."""

    memory: Memory
    blobs: Blobs
    keys: SpeechKeys
    lives: timedelta


class SpeechKeeping:
    def __init__(
        self, streaming: SpeechStreaming, shelf: SpeechShelf, background: Background, now: Clock
    ) -> None:
        self._streaming = streaming
        self._memory = shelf.memory
        self._blobs = shelf.blobs
        self._keys = shelf.keys
        self._lives = shelf.lives
        self._background = background
        self._now = now
        # By user and key: whoever asks here meanwhile listens to the same.
        self._under_way: dict[tuple[str, str], _SharedSpeech] = {}

    async def speak(
        self, request: SpeechRequest, join_seconds: float
    ) -> AsyncGenerator[Opening | bytes | Charge, None]:
        """The opening, the audio, and what it cost the first time. Consume inside `aclosing`.

        A listener who leaves ends nothing: the key says that they may come back for it. Raises KeyReused,
        PerformBusy, and SpeechUnderWay when another process still makes it after `join_seconds`.
        """
        made = await self._join_or_begin(request, join_seconds)
        audio = self._read(made) if isinstance(made, _StoredSpeech) else self._heard(made)
        opened = False
        async with aclosing(audio) as chunks:
            async for chunk in chunks:
                if not opened:
                    opened = True
                    yield Opening(made.voice_source)
                yield chunk
        if made.charge is not None:
            yield made.charge

    async def _heard(self, made: _SharedSpeech) -> AsyncGenerator[bytes, None]:
        with self._holding(made):
            async with aclosing(made.sound.listen()) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _read(self, kept: _StoredSpeech) -> AsyncGenerator[bytes, None]:
        """A part at a time: many may listen, and slowly."""
        with self._memory.part(_READ_BYTES):
            size = await self._blobs.size(kept.user_id, kept.speech_id)
            log.info("speech_given_again", speech_id=str(kept.speech_id))
            for start in range(0, size, _READ_BYTES):
                part = Span(start, min(start + _READ_BYTES, size))
                yield await self._blobs.get(kept.user_id, kept.speech_id, part)

    @contextmanager
    def _holding(self, made: _SharedSpeech) -> Iterator[None]:
        """It is in memory until the last of them has left it."""
        made.holders += 1
        try:
            yield
        finally:
            made.holders -= 1
            if not made.holders:
                self._memory.give_back(len(made.sound.audio))

    async def _join_or_begin(
        self, request: SpeechRequest, join_seconds: float
    ) -> _SharedSpeech | _StoredSpeech:
        give_up = asyncio.get_running_loop().time() + join_seconds
        pause = _POLL_SECONDS
        while True:
            if made := self._under_way.get(_place(request)):
                _check(same=made.fingerprint == request.order.fingerprint)
                return made
            held = await self._claimed(request.claim)
            if held is None:
                return self._begin(request)
            _check(same=held.same_request)
            if held.spoken is not None:
                charge = Charge(held.spoken.credits, 0, 0)
                return _StoredSpeech(request.user_id, held.speech_id, held.spoken.voice_source, charge)
            if asyncio.get_running_loop().time() >= give_up:
                raise SpeechUnderWay("The first request with this Idempotency-Key is still being spoken.")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)

    async def _claimed(self, claim: KeyClaim) -> HeldKey | None:
        now = self._now()
        try:
            return await self._keys.claim(claim, now, now + LONGEST_SPEECH)
        except (ServiceError, asyncio.CancelledError):
            # It may have been written all the same, and nobody would speak under it.
            self._background.start_retrying(self._free_later(claim))
            raise

    async def _free_later(self, claim: KeyClaim) -> None:
        pause = _FIRST_RETRY_SECONDS
        for _ in range(_RETRIES):
            await asyncio.sleep(pause)
            try:
                await self._keys.free(claim)
                return
            except ServiceError:
                pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
        log.warning("speech_left_to_expire", what="key", speech_id=str(claim.speech_id))

    def _begin(self, request: SpeechRequest) -> _SharedSpeech:
        made = self._under_way[_place(request)] = _SharedSpeech(request.order.fingerprint)
        self._background.start(self._make(request, made))
        return made

    async def _make(self, request: SpeechRequest, made: _SharedSpeech) -> None:
        with self._holding(made):
            try:
                self._memory.begin()
                await self._speak(request, made)
                made.sound.end()
            except BaseException as failure:
                if not made.kept:
                    await asyncio.shield(self._give_back(request, made))
                made.sound.fail(failure if isinstance(failure, Exception) else _cut())
                if not isinstance(failure, ServiceError):
                    raise
            finally:
                # Its key may have been given back, and be somebody else's by now.
                if self._under_way.get(_place(request)) is made:
                    del self._under_way[_place(request)]

    async def _speak(self, request: SpeechRequest, made: _SharedSpeech) -> None:
        async with aclosing(self._streaming.speak(request, lambda: self._keep(request, made))) as parts:
            async for part in parts:
                self._take(made, part)
        if made.charge is not None:
            await self._note(request.claim, Spoken(made.voice_source, made.charge.credits))

    async def _keep(self, request: SpeechRequest, made: _SharedSpeech) -> None:
        """Before anybody pays: what is charged can be had again."""
        made.stored = True
        await self._blobs.put(request.user_id, request.speech_id, made.sound.audio)
        until = self._now() + self._lives
        made.kept = await self._keys.spend(request.claim, Spoken(made.voice_source, 0), until)
        if not made.kept:
            raise SpeechUnderWay("Another request has taken over this Idempotency-Key.")

    def _take(self, made: _SharedSpeech, part: Opening | bytes | Charge) -> None:
        if isinstance(part, Opening):
            made.voice_source = part.voice_source
        elif isinstance(part, Charge):
            made.charge = part
        else:
            if len(made.sound.audio) + len(part) > _MOST_AUDIO_BYTES:
                raise AudioNotWhole("The audio did not end.")
            self._memory.take(len(part))
            made.sound.add(part)

    async def _note(self, claim: KeyClaim, spoken: Spoken) -> None:
        """Only what is told to who asks again: it is paid already."""
        try:
            await self._keys.spend(claim, spoken, self._now() + self._lives)
        except ServiceError as error:
            log.warning("speech_cost_not_noted", speech_id=str(claim.speech_id), cause=error.reason)

    async def _give_back(self, request: SpeechRequest, made: _SharedSpeech) -> None:
        try:
            await self._keys.free(request.claim)
            if made.stored:
                await self._blobs.delete(request.user_id, request.speech_id)
        except ServiceError:
            # Audio that stays is found by the orphan sweep.
            self._background.start_retrying(self._free_later(request.claim))


def _place(request: SpeechRequest) -> tuple[str, str]:
    return request.user_id, request.key


def _check(*, same: bool) -> None:
    if not same:
        raise KeyReused("This Idempotency-Key was used for another request.")


def _cut() -> AudioNotWhole:
    return AudioNotWhole("The speech was interrupted.")
