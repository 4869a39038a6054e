"""Protobuf in, protobuf out: speech as other makers' clients expect it, and memos about any topic."""

import json
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from uuid import uuid4

from google.api import httpbody_pb2
from google.protobuf import struct_pb2

from newvisions.perform.v1 import speech_service_pb2 as pb
from newvisions.perform.v1.speech_service_pb2_grpc import SpeechServiceServicer
from services.kernel.caller import caller
from services.kernel.edge import send_headers
from services.kernel.replay import idempotency_key
from services.perform.claiming import Request
from services.perform.domain import Charge, Order, Override
from services.perform.performing import Performing
from services.perform.rpc.asking import SILENT_SECONDS, join_seconds, when_answered
from services.perform.speech import CONTENT_TYPES, SpeechOrder
from services.perform.speech_keeping import SpeechKeeping
from services.perform.speech_streaming import Opening, SpeechRequest, SpeechStreaming

_EVENTS: Final = "text/event-stream"
# What a memo about any topic is listed as: a list that is seen on stage must not name the topic.
_ROUTINE: Final = "custom"


class SpeechServicer(SpeechServiceServicer):
    def __init__(
        self,
        speeches: SpeechStreaming,
        kept: SpeechKeeping,
        performing: Performing,
        longest_join_seconds: float,
    ) -> None:
        self._speeches = speeches
        self._kept = kept
        self._performing = performing
        self._longest_join_seconds = longest_join_seconds

    async def CreateSpeech(
        self, request: pb.CreateSpeechRequest, context: Any
    ) -> AsyncIterator[pb.CreateSpeechResponse]:
        order = _order(request)
        asked = SpeechRequest(uuid4(), caller().user_id, order, idempotency_key())
        kind = _EVENTS if order.as_events else CONTENT_TYPES[order.audio_format]
        async with aclosing(self._spoken(asked, context)) as parts:
            async for part in parts:
                if isinstance(part, Opening):
                    # Headers that go out earlier would make every later failure look like success.
                    await send_headers(context, (("voice-source", part.voice_source),))
                elif data := _event(part) if order.as_events else _audio(part):
                    yield pb.CreateSpeechResponse(body=httpbody_pb2.HttpBody(content_type=kind, data=data))

    def _spoken(self, asked: SpeechRequest, context: Any) -> AsyncGenerator[Opening | bytes | Charge, None]:
        if not asked.key:
            return self._speeches.speak(asked)
        join = join_seconds(min(self._longest_join_seconds, SILENT_SECONDS), context)
        return self._kept.speak(asked, join)

    async def GenerateAudio(self, request: pb.GenerateAudioRequest, context: Any) -> pb.GenerateAudioResponse:
        order = Order(_ROUTINE, request.value, Override(), topic=request.topic)
        join = join_seconds(self._longest_join_seconds, context)
        asked = Request(uuid4(), caller().user_id, order, idempotency_key(), join)
        done = await self._performing.perform(asked)
        answer = pb.GenerateAudioResponse(
            audio_base64=done.audio, text=done.recording.text, filename=done.recording.filename
        )
        recording_id = done.recording.recording_id
        when_answered(lambda: self._performing.delivered(asked, recording_id))
        return answer


def _order(request: pb.CreateSpeechRequest) -> SpeechOrder:
    return SpeechOrder(
        model=request.model,
        text=request.input,
        voice=_voice(request.voice),
        audio_format=request.response_format or "mp3",
        speed=request.speed if request.HasField("speed") else 1.0,
        as_events=request.stream_format == "sse",
    )


def _voice(given: struct_pb2.Value) -> str:
    """A name, or an object with an id; anything else is nobody's voice."""
    if given.HasField("struct_value"):
        return str(given.struct_value.fields["id"].string_value)
    return str(given.string_value)


def _audio(part: bytes | Charge) -> bytes:
    return part if isinstance(part, bytes) else b""


def _event(part: bytes | Charge) -> bytes:
    """Here nobody counts tokens: the total is what was charged, so that sums come out right."""
    if isinstance(part, bytes):
        event: dict[str, Any] = {"type": "speech.audio.delta", "audio": b64encode(part).decode()}
    else:
        usage = {"input_tokens": part.credits, "output_tokens": 0, "total_tokens": part.credits}
        event = {"type": "speech.audio.done", "usage": usage}
    return b"data: " + json.dumps(event).encode() + b"\n\n"
