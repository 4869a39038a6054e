"""Protobuf in, protobuf out."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import SynthesisServiceServicer
from services.kernel.playing import played
from services.synthesis.domain import (
    Background,
    Delivery,
    EnrolledVoice,
    Labels,
    Medium,
    OpeningMissing,
    Order,
    Piece,
    Sound,
    Utterance,
)
from services.synthesis.usecases import (
    Desk,
    Engines,
    Showroom,
    enrol_voice,
    hear_preview,
    hear_sound,
    speak_memo,
)


class SynthesisServicer(SynthesisServiceServicer):
    def __init__(self, engines: Engines, desk: Desk, showroom: Showroom) -> None:
        self._engines = engines
        self._desk = desk
        self._showroom = showroom

    async def EnrolVoice(self, request: pb.EnrolVoiceRequest, _: Any) -> pb.EnrolVoiceResponse:
        profile = await enrol_voice(self._engines, request.engine, request.pcm, request.sample_rate)
        return pb.EnrolVoiceResponse(profile=profile)

    async def Synthesize(
        self, request: pb.SynthesizeRequest, _: Any
    ) -> AsyncGenerator[pb.SynthesizeResponse, None]:
        async with aclosing(speak_memo(self._engines, self._desk, _order(request))) as pieces:
            async for piece in pieces:
                yield _told(pb.SynthesizeResponse, piece)

    async def SynthesizeAsWritten(
        self, requests: AsyncIterator[pb.SynthesizeAsWrittenRequest], _: Any
    ) -> AsyncGenerator[pb.SynthesizeAsWrittenResponse, None]:
        order = replace(_order(await _opening(requests)), further=_further(requests))
        async with aclosing(speak_memo(self._engines, self._desk, order)) as pieces:
            async for piece in pieces:
                yield _told(pb.SynthesizeAsWrittenResponse, piece)

    async def GetFanSound(self, request: pb.GetFanSoundRequest, context: Any) -> pb.GetFanSoundResponse:
        return pb.GetFanSoundResponse(body=await played(await self._sound("fan", request), context))

    async def GetAmbientSound(
        self, request: pb.GetAmbientSoundRequest, context: Any
    ) -> pb.GetAmbientSoundResponse:
        sound = await self._sound(request.sound, request)
        return pb.GetAmbientSoundResponse(body=await played(sound, context))

    async def _sound(self, name: str, request: pb.GetFanSoundRequest | pb.GetAmbientSoundRequest) -> bytes:
        volume = request.volume if request.HasField("volume") else 100
        return await hear_sound(self._showroom, name, volume)

    async def PreviewAmbience(
        self, request: pb.PreviewAmbienceRequest, context: Any
    ) -> pb.PreviewAmbienceResponse:
        volume = request.volume if request.HasField("volume") else 30
        background = Background(Sound.named(request.sound), volume, request.ducking)
        preview = await hear_preview(self._showroom, background)
        return pb.PreviewAmbienceResponse(body=await played(preview, context))


async def _opening(requests: AsyncIterator[pb.SynthesizeAsWrittenRequest]) -> pb.SynthesizeRequest:
    async for first in requests:
        if first.HasField("opening"):
            return first.opening
        break
    raise OpeningMissing("The first message does not say how to speak.")


async def _further(requests: AsyncIterator[pb.SynthesizeAsWrittenRequest]) -> AsyncGenerator[str, None]:
    async for request in requests:
        yield request.text


def _order(request: pb.SynthesizeRequest) -> Order:
    return Order(
        engine=request.engine,
        utterance=Utterance(request.text, request.language, _delivery(request)),
        voice=EnrolledVoice(request.engine_voice_id, request.profile),
        labels=Labels(request.title, request.recording_id),
        background=_background(request.background),
        medium=Medium.wanted(request.format, request.sample_rate),
        model=request.model,
    )


def _background(background: pb.Background) -> Background:
    sound = Sound(background.sound or Sound.FAN)
    return Background(sound, background.volume_percent, background.ducking)


def _delivery(request: pb.SynthesizeRequest) -> Delivery:
    if not request.HasField("delivery"):
        return Delivery()
    return Delivery(
        stability=request.delivery.stability_percent / 100,
        similarity=request.delivery.similarity_percent / 100,
        style=request.delivery.style_percent / 100,
        speed=request.delivery.speed if request.delivery.HasField("speed") else 1.0,
    )


M = TypeVar("M", pb.SynthesizeResponse, pb.SynthesizeAsWrittenResponse)


def _told(message: type[M], piece: Piece) -> M:
    """Two messages with the same fields: each call has its own answer."""
    if piece.summary is None:
        return message(audio=piece.audio, content_type=piece.content_type, model=piece.model)
    summary = pb.Summary(duration_seconds=piece.summary.duration_seconds, waveform=piece.summary.waveform)
    return message(audio=piece.audio, summary=summary)
