"""Protobuf in, protobuf out."""

import base64
from functools import partial
from typing import Any

from google.api.httpbody_pb2 import HttpBody

from newvisions.voice.v1 import voice_service_pb2 as pb
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceServicer
from services.kernel.caller import caller, owner
from services.voice.domain import Outcome
from services.voice.keeping import Keeping
from services.voice.ports import Blobs, Voices
from services.voice.uploads import from_body, from_json
from services.voice.usecases import Leasing, Uploading, read_sample

_MP3 = "audio/mpeg"
_MOST_CLIENT_CHARACTERS = 200


class VoiceServicer(VoiceServiceServicer):
    def __init__(
        self, uploading: Uploading, leasing: Leasing, keeping: Keeping, voices: Voices, blobs: Blobs
    ) -> None:
        self._uploading = uploading
        self._leasing = leasing
        self._keeping = keeping
        self._voices = voices
        self._blobs = blobs

    async def UploadVoice(self, request: pb.UploadVoiceRequest, _: Any) -> pb.UploadVoiceResponse:
        undo = partial(from_json, request.audio_base64, request.mime_type, request.duration_seconds)
        outcome = await self._uploading.upload(owner(request.user_id), undo, request.consent, _client())
        return pb.UploadVoiceResponse(**_fields(outcome))

    async def UploadVoiceFile(self, request: pb.UploadVoiceFileRequest, _: Any) -> pb.UploadVoiceFileResponse:
        undo = partial(from_body, request.file.content_type, request.file.data)
        outcome = await self._uploading.upload(owner(request.user_id), undo, request.consent, _client())
        return pb.UploadVoiceFileResponse(**_fields(outcome))

    async def GetVoiceMeta(self, request: pb.GetVoiceMetaRequest, _: Any) -> pb.GetVoiceMetaResponse:
        voice = await self._voices.get(owner(request.user_id))
        clone = voice.clone
        return pb.GetVoiceMetaResponse(
            has_sample=voice.sample is not None,
            has_clone=clone is not None,
            voice_clone_id=clone.clone_id if clone else None,
            in_pool=clone is not None and clone.in_pool,
            state=voice.state,
            updated_at=voice.changed_at if voice.sample else None,
        )

    async def GetVoiceSource(self, request: pb.GetVoiceSourceRequest, _: Any) -> pb.GetVoiceSourceResponse:
        sample, clone, mp3 = await read_sample(self._voices, self._blobs, owner(request.user_id))
        return pb.GetVoiceSourceResponse(
            voice_clone_id=clone.clone_id if clone else None,
            hash=sample.hash,
            duration=sample.seconds,
            audio_base64=base64.b64encode(mp3).decode(),
            mime=_MP3,
        )

    async def GetVoiceSourceAudio(
        self, request: pb.GetVoiceSourceAudioRequest, _: Any
    ) -> pb.GetVoiceSourceAudioResponse:
        _, _, mp3 = await read_sample(self._voices, self._blobs, owner(request.user_id))
        return pb.GetVoiceSourceAudioResponse(body=HttpBody(content_type=_MP3, data=mp3))

    async def DeleteVoice(self, request: pb.DeleteVoiceRequest, _: Any) -> pb.DeleteVoiceResponse:
        await self._keeping.erase(owner(request.user_id))
        return pb.DeleteVoiceResponse()

    async def LeaseVoice(self, request: pb.LeaseVoiceRequest, _: Any) -> pb.LeaseVoiceResponse:
        lease = await self._leasing.lease(request.user_id, request.performance_id)
        return pb.LeaseVoiceResponse(
            engine=lease.engine,
            engine_voice_id=lease.engine_voice_id,
            profile=lease.profile,
            voice_source=lease.voice_source,
            sample_hash=lease.sample_hash,
            fence=lease.fence,
        )

    async def ReleaseVoice(self, request: pb.ReleaseVoiceRequest, _: Any) -> pb.ReleaseVoiceResponse:
        await self._leasing.release(request.user_id, request.performance_id)
        return pb.ReleaseVoiceResponse()


def _fields(outcome: Outcome) -> dict[str, Any]:
    sample = outcome.sample
    return {
        "status": "ok",
        "bytes": sample.size_bytes,
        "hash": sample.hash,
        "duration": round(sample.seconds, 3),
        "dedup": outcome.action == "unchanged",
        "transcoded": sample.transcoded,
        "voice_clone_id": outcome.clone.clone_id,
        "action": outcome.action,
    }


def _client() -> str:
    return caller().headers.get("user-agent", "")[:_MOST_CLIENT_CHARACTERS]
