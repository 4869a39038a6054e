"""Protobuf in, protobuf out."""

import base64
from functools import partial
from typing import Any

from newvisions.voice.v1 import voice_service_pb2 as pb
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceServicer
from services.kernel.caller import caller, is_caller, owner, self_only
from services.kernel.playing import played
from services.voice.domain import Lease, Outcome, Voice
from services.voice.erasing import Erasing
from services.voice.uploads import from_body, from_json
from services.voice.usecases import Leasing, Reading, Touching, Uploading

_MP3 = "audio/mpeg"
_MOST_CLIENT_CHARACTERS = 200


class VoiceServicer(VoiceServiceServicer):
    def __init__(
        self,
        uploading: Uploading,
        leasing: Leasing,
        touching: Touching,
        erasing: Erasing,
        reading: Reading,
    ) -> None:
        self._uploading = uploading
        self._leasing = leasing
        self._touching = touching
        self._erasing = erasing
        self._reading = reading

    async def UploadVoice(self, request: pb.UploadVoiceRequest, _: Any) -> pb.UploadVoiceResponse:
        undo = partial(from_json, request.audio_base64, request.mime_type, request.duration_seconds)
        outcome = await self._uploading.upload(self_only(request.user_id), undo, request.consent, _client())
        return pb.UploadVoiceResponse(**_fields(outcome))

    async def UploadVoiceFile(self, request: pb.UploadVoiceFileRequest, _: Any) -> pb.UploadVoiceFileResponse:
        undo = partial(from_body, request.file.content_type, request.file.data)
        outcome = await self._uploading.upload(self_only(request.user_id), undo, request.consent, _client())
        return pb.UploadVoiceFileResponse(**_fields(outcome))

    async def GetVoiceMeta(self, request: pb.GetVoiceMetaRequest, _: Any) -> pb.GetVoiceMetaResponse:
        user_id, reading = owner(request.user_id), self._reading
        mine = is_caller(request.user_id)
        voice = await (reading.voice(user_id) if mine else reading.voice_of_another(user_id))
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
        sample, clone, mp3 = await self._reading.sample(self_only(request.user_id))
        return pb.GetVoiceSourceResponse(
            voice_clone_id=clone.clone_id if clone else None,
            hash=sample.hash,
            duration=sample.seconds,
            audio_base64=base64.b64encode(mp3).decode(),
            mime=_MP3,
        )

    async def GetVoiceSourceAudio(
        self, request: pb.GetVoiceSourceAudioRequest, context: Any
    ) -> pb.GetVoiceSourceAudioResponse:
        _, _, mp3 = await self._reading.sample(self_only(request.user_id))
        return pb.GetVoiceSourceAudioResponse(body=await played(mp3, context))

    async def CloneVoice(self, request: pb.CloneVoiceRequest, _: Any) -> pb.CloneVoiceResponse:
        outcome = await self._uploading.clone(self_only(request.user_id))
        return pb.CloneVoiceResponse(**_fields(outcome))

    async def TouchVoice(self, request: pb.TouchVoiceRequest, _: Any) -> pb.TouchVoiceResponse:
        touched = await self._touching.touch(self_only(request.user_id))
        return pb.TouchVoiceResponse(
            status=touched.status,
            voice_clone_id=touched.clone_id,
            position=touched.position,
            size=touched.size,
            enabled=touched.enabled,
        )

    async def DeleteVoice(self, request: pb.DeleteVoiceRequest, _: Any) -> pb.DeleteVoiceResponse:
        await self._erasing.erase_voice(self_only(request.user_id))
        return pb.DeleteVoiceResponse()

    async def LeaseVoice(self, request: pb.LeaseVoiceRequest, context: Any) -> pb.LeaseVoiceResponse:
        lease = await self._leased(request, context.time_remaining())
        if lease is None:
            return pb.LeaseVoiceResponse(pending=True)
        return pb.LeaseVoiceResponse(
            engine=lease.engine,
            engine_voice_id=lease.engine_voice_id,
            profile=lease.profile,
            voice_source=lease.voice_source,
            sample_hash=lease.sample_hash,
            fence=lease.fence,
        )

    async def _leased(self, request: pb.LeaseVoiceRequest, within: float | None) -> Lease | None:
        if request.overflow:
            return await self._leasing.lease_overflow(request.user_id, request.performance_id)
        leased = self._leasing.begin_lease if request.without_waiting else self._leasing.lease
        return await leased(request.user_id, request.performance_id, within)

    async def ReleaseVoice(self, request: pb.ReleaseVoiceRequest, _: Any) -> pb.ReleaseVoiceResponse:
        await self._leasing.release(request.user_id, request.performance_id)
        return pb.ReleaseVoiceResponse()

    async def ReportMissingVoice(
        self, request: pb.ReportMissingVoiceRequest, _: Any
    ) -> pb.ReportMissingVoiceResponse:
        await self._leasing.report_missing(request.user_id, request.engine_voice_id, request.fence)
        return pb.ReportMissingVoiceResponse()

    async def EraseUser(self, request: pb.EraseUserRequest, _: Any) -> pb.EraseUserResponse:
        found = await self._erasing.erase_user(request.user_id, request.erasure_id)
        erased = {
            "samples": found.samples,
            "clones": found.clones,
            "blobs": found.blobs,
            "answers": found.answers,
        }
        return pb.EraseUserResponse(erased=erased, done=found.done)

    async def ExportUser(self, request: pb.ExportUserRequest, _: Any) -> pb.ExportUserResponse:
        return _exported(await self._reading.voice(request.user_id))


def _fields(outcome: Outcome) -> dict[str, Any]:
    sample = outcome.sample
    return {
        "status": "ok",
        "bytes": sample.size_bytes,
        "hash": sample.hash,
        "duration": round(sample.seconds, 3),
        "dedup": outcome.dedup,
        "transcoded": sample.transcoded,
        "voice_clone_id": outcome.clone.clone_id,
        "action": outcome.action,
    }


def _exported(voice: Voice) -> pb.ExportUserResponse:
    answer = pb.ExportUserResponse(state=voice.state)
    if voice.clone:
        answer.voice_clone_id = voice.clone.clone_id
        answer.voice_source = voice.clone.voice_source
    if voice.sample:
        consent = voice.sample.consent
        answer.sample.hash = voice.sample.hash
        answer.sample.duration_seconds = round(voice.sample.seconds, 3)
        answer.sample.size_bytes = voice.sample.size_bytes
        answer.sample.consent = consent.statement
        answer.sample.consent_given_at.FromDatetime(consent.given_at)
        answer.sample.consent_client = consent.client
        if voice.changed_at:
            answer.sample.updated_at.FromDatetime(voice.changed_at)
    return answer


def _client() -> str:
    return caller().headers.get("user-agent", "")[:_MOST_CLIENT_CHARACTERS]
