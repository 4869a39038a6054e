"""The other services, in auth's own words: what they keep about a user, to erase and to export it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from newvisions.content.v1 import content_service_pb2 as content
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceStub
from newvisions.perform.v1 import perform_service_pb2 as perform
from newvisions.perform.v1.perform_service_pb2_grpc import PerformServiceStub
from newvisions.voice.v1 import voice_service_pb2 as voice
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from services.auth.domain.erasure import Erased, Subject
from services.kernel.client import outgoing, peer


class VoicePeer:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = VoiceServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        request = voice.EraseUserRequest(user_id=subject.user_id, erasure_id=subject.erasure_id)
        with peer("voice"):
            reply = await self._stub.EraseUser(request, **outgoing(self._seconds))
        return Erased(dict(reply.erased), reply.done)

    async def voice_of(self, user_id: str) -> Mapping[str, Any]:
        with peer("voice"):
            request = voice.ExportUserRequest(user_id=user_id)
            reply = await self._stub.ExportUser(request, **outgoing(self._seconds))
        found: dict[str, Any] = {"state": reply.state}
        if reply.HasField("voice_clone_id"):
            found |= {"voice_clone_id": reply.voice_clone_id, "voice_source": reply.voice_source}
        if reply.HasField("sample"):
            sample = reply.sample
            found["sample"] = {
                "hash": sample.hash,
                "duration_seconds": sample.duration_seconds,
                "size_bytes": sample.size_bytes,
                "updated_at": _written(sample.updated_at),
                "consent": sample.consent,
                "consent_given_at": _written(sample.consent_given_at),
                "consent_client": sample.consent_client,
            }
        return found


class PerformPeer:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = PerformServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        request = perform.EraseUserRequest(user_id=subject.user_id, erasure_id=subject.erasure_id)
        with peer("perform"):
            reply = await self._stub.EraseUser(request, **outgoing(self._seconds))
        return Erased(dict(reply.erased), reply.done)

    async def recordings_of(self, user_id: str, token: str) -> tuple[list[Mapping[str, Any]], str]:
        with peer("perform"):
            request = perform.ExportUserRequest(user_id=user_id, page_token=token)
            reply = await self._stub.ExportUser(request, **outgoing(self._seconds))
        return [_recording(each) for each in reply.recordings], reply.next_page_token


class ContentPeer:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = ContentServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        request = content.EraseUserRequest(user_id=subject.user_id, erasure_id=subject.erasure_id)
        with peer("content"):
            reply = await self._stub.EraseUser(request, **outgoing(self._seconds))
        return Erased(dict(reply.erased), reply.done)


def _recording(found: perform.ExportedRecording) -> Mapping[str, Any]:
    return {
        "id": found.id,
        "title": found.title,
        "date": found.date,
        "created_at": _written(found.created_at),
        "duration_seconds": found.duration_seconds,
        "size_bytes": found.size_bytes,
        "routine_type": found.routine_type,
        "text": found.text,
        "voice_state": found.voice_source,
        "filename": found.filename,
    }


def _written(stamp: Timestamp) -> str:
    return str(stamp.ToJsonString())
