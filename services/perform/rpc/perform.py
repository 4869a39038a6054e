"""Protobuf in, protobuf out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from google.api import httpbody_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from newvisions.perform.v1 import perform_service_pb2 as pb
from newvisions.perform.v1.perform_service_pb2_grpc import PerformServiceServicer
from services.kernel.caller import caller, self_only
from services.kernel.edge import send_headers
from services.kernel.ranges import range_headers
from services.kernel.replay import idempotency_key
from services.perform.claiming import Request
from services.perform.domain import Order, Override, Performance, Recording
from services.perform.erasing import Erasing
from services.perform.filing import wanted
from services.perform.performing import Heading, Performed, Performing
from services.perform.readiness import Readiness
from services.perform.recordings import Archive, Shown
from services.perform.rpc.asking import SILENT_SECONDS, join_seconds, when_answered

_MPEG = "audio/mpeg"


class PerformServicer(PerformServiceServicer):
    def __init__(
        self,
        performing: Performing,
        archive: Archive,
        erasing: Erasing,
        readiness: Readiness,
        longest_join_seconds: float,
    ) -> None:
        self._performing = performing
        self._erasing = erasing
        self._archive = archive
        self._readiness = readiness
        self._longest_join_seconds = longest_join_seconds

    async def Perform(self, request: pb.PerformRequest, context: Any) -> pb.PerformResponse:
        join = join_seconds(self._longest_join_seconds, context)
        asked = _request(request, join)
        done = await self._performing.perform(asked)
        answer, recording_id = _performed(request.routine_type, done), done.recording.recording_id
        when_answered(lambda: self._performing.delivered(asked, recording_id))
        return answer

    async def StreamPerform(
        self, request: pb.StreamPerformRequest, context: Any
    ) -> AsyncIterator[pb.StreamPerformResponse]:
        join = join_seconds(min(self._longest_join_seconds, SILENT_SECONDS), context)
        asked, heading = _request(request, join), None
        async with aclosing(self._performing.listen(asked)) as parts:
            async for part in parts:
                if isinstance(part, Heading):
                    heading = part
                    # Headers that go out earlier would make every later failure look like success.
                    await send_headers(context, _headers(part))
                    continue
                yield pb.StreamPerformResponse(body=httpbody_pb2.HttpBody(content_type=_MPEG, data=part))
        if heading is not None:
            recording_id = heading.recording_id
            when_answered(lambda: self._performing.delivered(asked, recording_id))

    async def GetPerformance(
        self, request: pb.GetPerformanceRequest, context: Any
    ) -> pb.GetPerformanceResponse:
        return _performance(await self._performing.find(caller().user_id, request.performance_id))

    async def ListRecordings(
        self, request: pb.ListRecordingsRequest, context: Any
    ) -> pb.ListRecordingsResponse:
        asked = wanted(request.recorded_from, request.recorded_to, request.state, request.page_token)
        page, following = await self._archive.page(caller().user_id, asked, request.page_size)
        return pb.ListRecordingsResponse(
            recordings=[_shown(pb.Recording, each) for each in page], next_page_token=following
        )

    async def GetRecording(self, request: pb.GetRecordingRequest, context: Any) -> pb.GetRecordingResponse:
        found = await self._archive.get(caller().user_id, request.recording_id)
        return _shown(pb.GetRecordingResponse, found)

    async def UpdateRecording(
        self, request: pb.UpdateRecordingRequest, context: Any
    ) -> pb.UpdateRecordingResponse:
        changed = await self._archive.change(
            caller().user_id, request.recording_id, _given(request, "title"), _given(request, "date")
        )
        return _shown(pb.UpdateRecordingResponse, changed)

    async def DeleteRecording(
        self, request: pb.DeleteRecordingRequest, context: Any
    ) -> pb.DeleteRecordingResponse:
        await self._archive.delete(caller().user_id, request.recording_id)
        return pb.DeleteRecordingResponse()

    async def GetRecordingAudio(
        self, request: pb.GetRecordingAudioRequest, context: Any
    ) -> pb.GetRecordingAudioResponse:
        asked = caller().headers.get("range", "")
        audio = await self._archive.audio(caller().user_id, request.recording_id, request.filename, asked)
        await send_headers(context, range_headers(audio.part, audio.size))
        return pb.GetRecordingAudioResponse(
            body=httpbody_pb2.HttpBody(content_type=_MPEG, data=audio.content)
        )

    async def GetHealth(self, request: pb.GetHealthRequest, context: Any) -> pb.GetHealthResponse:
        await self._readiness.check()
        return pb.GetHealthResponse(status="ok")

    async def EraseUser(self, request: pb.EraseUserRequest, context: Any) -> pb.EraseUserResponse:
        found = await self._erasing.erase_user(request.user_id, request.erasure_id)
        erased = {
            "performances": found.performances,
            "recordings": found.recordings,
            "blobs": found.blobs,
        }
        return pb.EraseUserResponse(erased=erased, done=found.done)

    async def ExportUser(self, request: pb.ExportUserRequest, context: Any) -> pb.ExportUserResponse:
        page, following = await self._archive.export(request.user_id, request.page_token)
        return pb.ExportUserResponse(recordings=[_exported(each) for each in page], next_page_token=following)


def _request(request: Any, join: float) -> Request:
    """Nobody performs in another's voice, administrators neither."""
    return Request(uuid4(), self_only(request.user_id), _order(request), idempotency_key(), join)


def _order(request: Any) -> Order:
    given = request.settings_override
    override = Override(
        voice_language=_given(given, "voice_language"),
        voice_stability=_given(given, "voice_stability"),
        voice_similarity=_given(given, "voice_similarity"),
        background_sound=_given(given, "background_sound"),
        background_volume=_given(given, "background_volume"),
        voice_note_name=_given(given, "voice_note_name"),
        voice_note_date=_given(given, "voice_note_date"),
    )
    return Order.asked(request.routine_type, request.value, override, shipped_client=caller().legacy_client)


def _given(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _performed(routine_type: str, done: Performed) -> pb.PerformResponse:
    kept = done.recording
    return pb.PerformResponse(
        routine_type=routine_type,
        text=kept.text,
        audio_base64=done.audio,
        filename=kept.filename,
        char_count=done.charge.char_count,
        monthly_limit=done.charge.monthly_limit,
        voice_source=kept.voice_source,
        chars_used_raw=len(kept.text),
        chars_used_effective=done.charge.credits,
        recording_id=str(kept.recording_id),
    )


def _performance(found: Performance) -> pb.GetPerformanceResponse:
    told = pb.GetPerformanceResponse(
        id=str(found.performance_id),
        state=found.state,
        recording_id=str(found.performance_id) if found.has_recording else "",
        created_at=_stamp(found.created_at),
        charge=found.charge.credits if found.charge else 0,
    )
    if found.failure is not None:
        told.reason, told.message = found.failure.reason, found.failure.message
        told.action = found.failure.action
    if found.ended_at is not None:
        told.ended_at.CopyFrom(_stamp(found.ended_at))
    return told


def _headers(heading: Heading) -> tuple[tuple[str, str], ...]:
    return (
        ("recording-id", str(heading.recording_id)),
        ("voice-note-text", quote(heading.text, safe="")),
        ("voice-note-text-whole", "true" if heading.text_is_whole else "false"),
        ("voice-source", heading.voice_source),
        ("expected-duration-seconds", f"{heading.expected_seconds:.1f}"),
    )


M = TypeVar("M", pb.Recording, pb.GetRecordingResponse, pb.UpdateRecordingResponse)


def _shown(message: type[M], shown: Shown) -> M:
    """Three messages with the same fields: each call has its own answer."""
    kept = shown.recording
    return message(
        id=str(kept.recording_id),
        title=kept.title,
        date=kept.date,
        created_at=_stamp(kept.created_at),
        duration_seconds=kept.duration_seconds,
        size_bytes=kept.size_bytes,
        routine_type=kept.routine_type,
        text=kept.text,
        voice_state=kept.voice_source,
        is_active_sample=shown.active,
        waveform=kept.waveform,
    )


def _exported(kept: Recording) -> pb.ExportedRecording:
    return pb.ExportedRecording(
        id=str(kept.recording_id),
        title=kept.title,
        date=kept.date,
        created_at=_stamp(kept.created_at),
        duration_seconds=kept.duration_seconds,
        size_bytes=kept.size_bytes,
        routine_type=kept.routine_type,
        text=kept.text,
        voice_source=kept.voice_source,
        filename=kept.filename,
    )


def _stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made
