"""The other services, in perform's own words. Calls that carry the performance's id are safe to repeat."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import stamina

from newvisions.auth.v1 import auth_service_pb2 as auth
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from newvisions.content.v1 import content_service_pb2 as content
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceStub
from newvisions.synthesis.v1 import synthesis_service_pb2 as synthesis
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import SynthesisServiceStub
from newvisions.voice.v1 import voice_service_pb2 as voice
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from services.kernel.client import PeerUnavailable, outgoing, peer
from services.perform.domain import (
    AudioSummary,
    Charge,
    Delivery,
    LeasedVoice,
    Note,
    Order,
    Preferences,
    Speaker,
)
from services.perform.errors import VoiceMissing
from services.perform.script import Script


def _again() -> Any:
    """The one retry: for a peer that restarts, within the deadline that each attempt has anyway."""
    return stamina.retry_context(
        on=PeerUnavailable, attempts=3, wait_initial=0.05, wait_max=0.5, wait_jitter=0.05
    )


def _whatever_the_caller_does(seconds: float) -> dict[str, Any]:
    """For calls that clean up or charge: the caller's deadline may be over, these must still go out."""
    return {**outgoing(seconds), "timeout": seconds}


class AuthCredits:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = AuthServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def reserve(
        self, user_id: str, performance_id: UUID, longest_text: int, began_at: datetime, model: str = ""
    ) -> Preferences:
        request = auth.ReserveCreditsRequest(
            user_id=user_id,
            performance_id=str(performance_id),
            max_characters=longest_text,
            model=model,
            began_at=began_at,
        )
        async for attempt in _again():
            with attempt, peer("auth"):
                reply = await self._stub.ReserveCredits(request, **outgoing(self._seconds))
        return _preferences(reply.settings)

    async def settle(self, user_id: str, performance_id: UUID, characters: int, model: str) -> Charge:
        request = auth.SettleCreditsRequest(
            user_id=user_id, performance_id=str(performance_id), characters=characters, model=model
        )
        async for attempt in _again():
            with attempt, peer("auth"):
                reply = await self._stub.SettleCredits(request, **_whatever_the_caller_does(self._seconds))
        return Charge(reply.charged, reply.char_count, reply.monthly_limit)

    async def release(self, user_id: str, performance_id: UUID) -> None:
        request = auth.ReleaseCreditsRequest(user_id=user_id, performance_id=str(performance_id))
        async for attempt in _again():
            with attempt, peer("auth"):
                await self._stub.ReleaseCredits(request, **_whatever_the_caller_does(self._seconds))


def _preferences(settings: auth.GetSettingsResponse) -> Preferences:
    return Preferences(
        voice_language=settings.voice_language or "en",
        voice_stability=settings.voice_stability,
        voice_similarity=settings.voice_similarity,
        background_sound=settings.background_sound,
        background_volume=settings.background_volume,
        voice_note_name=settings.voice_note_name,
        voice_note_date=settings.voice_note_date,
        voice_note_name_default=settings.voice_note_name_default,
    )


class VoiceLeases:
    def __init__(self, channel: Any, lease_seconds: float, seconds: float) -> None:
        self._stub: Any = VoiceServiceStub(channel)  # type: ignore[no-untyped-call]
        self._lease_seconds = lease_seconds
        self._seconds = seconds

    async def lease(self, user_id: str, performance_id: UUID) -> LeasedVoice:
        return _leased(await self._lease(user_id, performance_id))

    async def begin_lease(self, user_id: str, performance_id: UUID) -> LeasedVoice | None:
        reply = await self._lease(user_id, performance_id, without_waiting=True)
        return None if reply.pending else _leased(reply)

    async def lease_overflow(self, user_id: str, performance_id: UUID) -> LeasedVoice:
        return _leased(await self._lease(user_id, performance_id, overflow=True))

    async def _lease(self, user_id: str, performance_id: UUID, **how: bool) -> voice.LeaseVoiceResponse:
        request = voice.LeaseVoiceRequest(user_id=user_id, performance_id=str(performance_id), **how)
        async for attempt in _again():
            with attempt, peer("voice"):
                reply: voice.LeaseVoiceResponse = await self._stub.LeaseVoice(
                    request, **outgoing(self._lease_seconds)
                )
        return reply

    async def release(self, user_id: str, performance_id: UUID) -> None:
        request = voice.ReleaseVoiceRequest(user_id=user_id, performance_id=str(performance_id))
        async for attempt in _again():
            with attempt, peer("voice"):
                await self._stub.ReleaseVoice(request, **_whatever_the_caller_does(self._seconds))

    async def report_missing(self, user_id: str, lost: LeasedVoice) -> None:
        request = voice.ReportMissingVoiceRequest(
            user_id=user_id, engine_voice_id=lost.engine_voice_id, fence=lost.fence
        )
        async for attempt in _again():
            with attempt, peer("voice"):
                await self._stub.ReportMissingVoice(request, **outgoing(self._seconds))

    async def clone_id(self, user_id: str) -> str:
        with peer("voice"):
            request = voice.GetVoiceMetaRequest(user_id=user_id)
            reply = await self._stub.GetVoiceMeta(request, **outgoing(self._seconds))
        return str(reply.voice_clone_id)

    async def sample_changed_at(self, user_id: str) -> datetime | None:
        with peer("voice"):
            request = voice.GetVoiceMetaRequest(user_id=user_id)
            reply = await self._stub.GetVoiceMeta(request, **outgoing(self._seconds))
        if not (reply.has_sample and reply.HasField("updated_at")):
            return None
        return _moment(reply.updated_at)


def _leased(reply: voice.LeaseVoiceResponse) -> LeasedVoice:
    return LeasedVoice(
        reply.engine,
        reply.engine_voice_id,
        reply.profile,
        reply.voice_source,
        reply.sample_hash,
        reply.fence,
    )


def _moment(stamp: Any) -> datetime:
    """In milliseconds, as moments are kept here."""
    return datetime.fromtimestamp(stamp.ToMilliseconds() / 1000, UTC)


class ContentNotes:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = ContentServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds
        # Until the first answer says otherwise.
        self.streams = False

    async def compose(self, order: Order, language: str, user_id: str) -> Note:
        if order.topic:
            return await self._about(order.topic, order.value, language)
        request = content.ComposeNoteRequest(
            routine_type=order.routine_type, value=order.value, language=language, user_id=user_id
        )
        async for attempt in _again():
            with attempt, peer("content"):
                reply = await self._stub.ComposeNote(request, **outgoing(self._seconds))
        self.streams = reply.streams
        return Note(reply.text, reply.model, tuple(reply.fallback_from))

    async def write(self, order: Order, language: str, user_id: str) -> AsyncGenerator[str | Note, None]:
        request = content.StreamNoteRequest(
            routine_type=order.routine_type, value=order.value, language=language, user_id=user_id
        )
        text = ""
        try:
            with peer("content"):
                call = self._stub.StreamNote(request, **outgoing(self._seconds))
                async with _messages(call) as messages:
                    async for message in messages:
                        text += message.text
                        yield message.text
                        if message.HasField("written"):
                            self.streams = message.written.streams
                            yield Note(text, message.written.model, tuple(message.written.fallback_from))
                            return
            _broke_off()
        except PeerUnavailable:
            if text:
                raise
        # Nothing was heard of it yet; also from a content service that is older than this one.
        note = await self.compose(order, language, user_id)
        yield note.text
        yield note

    async def _about(self, topic: str, value: str, language: str) -> Note:
        """For the caller of this request, whom the call carries along."""
        request = content.GenerateThoughtRequest(topic=topic, value=value, language=language)
        async for attempt in _again():
            with attempt, peer("content"):
                reply = await self._stub.GenerateThought(request, **outgoing(self._seconds))
        return Note(reply.thought, reply.model, tuple(reply.fallback_from))


def _broke_off() -> None:
    raise PeerUnavailable("The content service ended before the note was whole.")


class SynthesisSpeech:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def speak(
        self, script: Script, voice: LeasedVoice, delivery: Delivery, recording_id: UUID
    ) -> AsyncGenerator[Speaker | bytes | AudioSummary, None]:
        request = _synthesize_request(script.text, voice, delivery, recording_id)
        if not script.whole:
            heard = False
            try:
                async with aclosing(
                    self._heard(self._stub.SynthesizeAsWritten, _parts(request, script))
                ) as pieces:
                    async for piece in pieces:
                        heard = True
                        yield piece
                return
            except PeerUnavailable:
                if heard:
                    raise
            # Nothing was heard of it yet; also of a speech service that is older than this one.
            request.text = await script.to_its_end()
        async with aclosing(self._heard(self._stub.Synthesize, request)) as pieces:
            async for piece in pieces:
                yield piece

    async def _heard(
        self, ask: Callable[..., Any], asked: Any
    ) -> AsyncGenerator[Speaker | bytes | AudioSummary, None]:
        """Asked within `peer`, or the call is missing in the trace and among the calls that are counted."""
        with peer("synthesis", {VoiceMissing.reason: VoiceMissing}):
            async with _messages(ask(asked, **outgoing(self._seconds))) as messages:
                async for message in messages:
                    if message.model:
                        yield Speaker(message.model)
                    if message.audio:
                        yield message.audio
                    if message.HasField("summary"):
                        made = message.summary
                        yield AudioSummary(made.duration_seconds, tuple(made.waveform))


def _synthesize_request(
    text: str, voice: LeasedVoice, delivery: Delivery, recording_id: UUID
) -> synthesis.SynthesizeRequest:
    request = synthesis.SynthesizeRequest(
        text=text,
        language=delivery.language,
        engine=voice.engine,
        engine_voice_id=voice.engine_voice_id,
        profile=voice.profile,
        delivery=synthesis.Delivery(
            stability_percent=delivery.stability,
            similarity_percent=delivery.similarity,
            speed=delivery.speed,
        ),
        recording_id=str(recording_id),
        title=delivery.title,
        format=delivery.audio_format,
        model=delivery.model,
    )
    if delivery.background_volume is not None:
        request.background.volume_percent = delivery.background_volume
    return request


async def _parts(
    opening: synthesis.SynthesizeRequest, script: Script
) -> AsyncGenerator[synthesis.SynthesizeAsWrittenRequest, None]:
    yield synthesis.SynthesizeAsWrittenRequest(opening=opening)
    async with aclosing(script.after(opening.text)) as pieces:
        async for text in pieces:
            yield synthesis.SynthesizeAsWrittenRequest(text=text)


@asynccontextmanager
async def _messages(call: Any) -> AsyncIterator[AsyncGenerator[Any, None]]:
    """The peer stops at once when nobody listens any more."""
    messages = aiter(call)
    try:
        yield messages
    finally:
        call.cancel()
        await messages.aclose()
