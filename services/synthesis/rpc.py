"""Protobuf in, protobuf out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from google.api.httpbody_pb2 import HttpBody

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import SynthesisServiceServicer
from services.synthesis.ambience import Fan
from services.synthesis.domain import Delivery, EnrolledVoice, Labels, Order, Piece, Utterance
from services.synthesis.studio import Studio
from services.synthesis.usecases import Engines, enrol_voice, speak_memo


class SynthesisServicer(SynthesisServiceServicer):
    def __init__(self, engines: Engines, studio: Studio, fan: Fan) -> None:
        self._engines = engines
        self._studio = studio
        self._fan = fan

    async def EnrolVoice(self, request: pb.EnrolVoiceRequest, _: Any) -> pb.EnrolVoiceResponse:
        profile = await enrol_voice(self._engines, request.engine, request.pcm, request.sample_rate)
        return pb.EnrolVoiceResponse(profile=profile)

    async def Synthesize(
        self, request: pb.SynthesizeRequest, _: Any
    ) -> AsyncGenerator[pb.SynthesizeResponse, None]:
        async with aclosing(speak_memo(self._engines, self._studio, self._fan, _order(request))) as pieces:
            async for piece in pieces:
                yield _message(piece)

    async def GetFanSound(self, _request: pb.GetFanSoundRequest, _: Any) -> pb.GetFanSoundResponse:
        return pb.GetFanSoundResponse(body=HttpBody(content_type="audio/mpeg", data=self._fan.mp3))


def _order(request: pb.SynthesizeRequest) -> Order:
    return Order(
        engine=request.engine,
        utterance=Utterance(request.text, request.language, _delivery(request)),
        voice=EnrolledVoice(request.engine_voice_id, request.profile),
        labels=Labels(request.title, request.recording_id),
        background_percent=request.background.volume_percent,
    )


def _delivery(request: pb.SynthesizeRequest) -> Delivery:
    if not request.HasField("delivery"):
        return Delivery()
    return Delivery(
        stability=request.delivery.stability_percent / 100,
        similarity=request.delivery.similarity_percent / 100,
    )


def _message(piece: Piece) -> pb.SynthesizeResponse:
    if piece.summary is None:
        return pb.SynthesizeResponse(audio=piece.audio)
    summary = pb.Summary(duration_seconds=piece.summary.duration_seconds, waveform=piece.summary.waveform)
    return pb.SynthesizeResponse(audio=piece.audio, summary=summary)
