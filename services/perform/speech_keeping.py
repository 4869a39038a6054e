"""Speech under an Idempotency-Key: made to its end whoever listens, kept for a day, given again."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from services.kernel.errors import ServiceError
from services.kernel.replay import KeyReused
from services.perform.background import Background
from services.perform.domain import Charge
from services.perform.errors import AudioNotWhole
from services.perform.ports import Blobs, Clock, SpeechKeys
from services.perform.sound import Sound
from services.perform.speech import HeldKey, KeyClaim, Spoken
from services.perform.speech_errors import SpeechUnderWay
from services.perform.speech_streaming import Opening, SpeechRequest, SpeechStreaming

log = structlog.get_logger()

# Longer than any speech may take: then whoever held the key is gone.
_LONGEST_SPEECH = timedelta(minutes=5)
# Twelve minutes as they are, 48 kB a second; what is longer is an engine that does not stop.
_MOST_AUDIO_BYTES = 36 << 20
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 0.5
# Until a key that may be ours is given back: long enough for a claim that is still on its way to arrive.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, _RETRIES = 0.25, 8.0, 10


@dataclass(slots=True)
class _Made:
    """A speech that its listeners share: while it is made, or as it was kept."""

    fingerprint: str
    # What its Opening and its Charge say; there before the first audio, and before the end.
    voice_source: str = ""
    charge: Charge | None = None
    sound: Sound = field(default_factory=Sound)


@dataclass(frozen=True, slots=True)
class SpeechShelf:
    """Where what was spoken is kept, how it is found there, and for how long."""

    blobs: Blobs
    keys: SpeechKeys
    lives: timedelta


class SpeechKeeping:
    def __init__(
        self, streaming: SpeechStreaming, shelf: SpeechShelf, background: Background, now: Clock
    ) -> None:
        self._streaming = streaming
        self._blobs = shelf.blobs
        self._keys = shelf.keys
        self._lives = shelf.lives
        self._background = background
        self._now = now
        # By user and key: whoever asks here meanwhile listens to the same.
        self._under_way: dict[tuple[str, str], _Made] = {}

    async def speak(
        self, request: SpeechRequest, join_seconds: float
    ) -> AsyncGenerator[Opening | bytes | Charge, None]:
        """The opening, the audio, and what it cost the first time. Consume inside `aclosing`.

        A listener who leaves ends nothing: the key says that they may come back for it. Raises KeyReused,
        and SpeechUnderWay when another process still makes it after `join_seconds`.
        """
        made = await self._made(request, join_seconds)
        opened = False
        async with aclosing(made.sound.listen()) as chunks:
            async for chunk in chunks:
                if not opened:
                    opened = True
                    yield Opening(made.voice_source)
                yield chunk
        if made.charge is not None:
            yield made.charge

    async def _made(self, request: SpeechRequest, join_seconds: float) -> _Made:
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
                return await self._kept(request, held, held.spoken)
            if asyncio.get_running_loop().time() >= give_up:
                raise SpeechUnderWay("The first request with this Idempotency-Key is still being spoken.")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)

    async def _claimed(self, claim: KeyClaim) -> HeldKey | None:
        now = self._now()
        try:
            return await self._keys.claim(claim, now, now + _LONGEST_SPEECH)
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

    async def _kept(self, request: SpeechRequest, held: HeldKey, spoken: Spoken) -> _Made:
        audio = await self._blobs.get(request.user_id, held.speech_id)
        log.info("speech_given_again", speech_id=str(held.speech_id))
        charge = Charge(spoken.credits, 0, 0)
        return _Made(request.order.fingerprint, spoken.voice_source, charge, Sound.whole(audio))

    def _begin(self, request: SpeechRequest) -> _Made:
        made = self._under_way[_place(request)] = _Made(request.order.fingerprint)
        self._background.start(self._make(request, made))
        return made

    async def _make(self, request: SpeechRequest, made: _Made) -> None:
        kept = False

        async def keep() -> None:
            """Before anybody pays: what is charged can be had again."""
            nonlocal kept
            await self._blobs.put(request.user_id, request.speech_id, bytes(made.sound.audio))
            until = self._now() + self._lives
            kept = await self._keys.spend(request.claim, Spoken(made.voice_source, 0), until)
            if not kept:
                raise SpeechUnderWay("Another request has taken over this Idempotency-Key.")

        try:
            async with aclosing(self._streaming.speak(request, keep)) as parts:
                async for part in parts:
                    self._take(made, part)
            if made.charge is not None:
                await self._note(request.claim, Spoken(made.voice_source, made.charge.credits))
            made.sound.end()
        except BaseException as failure:
            if not kept:
                await asyncio.shield(self._give_back(request))
            made.sound.fail(failure if isinstance(failure, Exception) else _cut())
            if not isinstance(failure, ServiceError):
                raise
        finally:
            del self._under_way[_place(request)]

    def _take(self, made: _Made, part: Opening | bytes | Charge) -> None:
        if isinstance(part, Opening):
            made.voice_source = part.voice_source
        elif isinstance(part, Charge):
            made.charge = part
        else:
            made.sound.add(part)
            if len(made.sound.audio) > _MOST_AUDIO_BYTES:
                raise AudioNotWhole("The audio did not end.")

    async def _note(self, claim: KeyClaim, spoken: Spoken) -> None:
        """Only what is told to who asks again: it is paid already."""
        try:
            await self._keys.spend(claim, spoken, self._now() + self._lives)
        except ServiceError as error:
            log.warning("speech_cost_not_noted", speech_id=str(claim.speech_id), cause=error.reason)

    async def _give_back(self, request: SpeechRequest) -> None:
        try:
            await self._keys.free(request.claim)
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
