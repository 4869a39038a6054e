"""The voice service as its callers see it."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from newvisions.voice.v1 import voice_service_pb2 as pb
from tests import samples
from tests.integration.voice_stage import (
    Stage,
    failure_of,
    open_replica,
    open_stage,
    profile_of,
    signed_in,
    user_of,
)


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with open_stage(mongo_url, valkey_url, tmp_path_factory.mktemp("voice")) as opened:
        yield opened


def as_json(recording: bytes, **changes: object) -> pb.UploadVoiceRequest:
    fields = {"user_id": "me", "audio_base64": base64.b64encode(recording).decode()}
    return pb.UploadVoiceRequest(**{**fields, **changes})  # type: ignore[arg-type]


def as_body(recording: bytes, content_type: str = "audio/mpeg") -> pb.UploadVoiceFileRequest:
    return pb.UploadVoiceFileRequest(user_id="me", file=HttpBody(content_type=content_type, data=recording))


def lease_of(user_id: str) -> pb.LeaseVoiceRequest:
    return pb.LeaseVoiceRequest(user_id=user_id, performance_id=str(uuid4()))


async def test_a_first_sample_becomes_a_voice_that_performances_can_lease(stage: Stage) -> None:
    me = signed_in()
    made = await stage.voice.UploadVoice(as_json(samples.speech(suffix="webm"), consent="I agree."), **me)
    assert (made.status, made.action, made.dedup, made.transcoded) == ("ok", "created", False, True)
    assert 35.0 < made.duration < 36.5
    assert len(made.hash) == 64

    meta = await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id="me"), **me)
    assert (meta.has_sample, meta.has_clone, meta.in_pool, meta.state) == (True, True, False, "ready")
    assert meta.voice_clone_id == made.voice_clone_id

    lease = await stage.voice.LeaseVoice(lease_of(user_of(me)))
    assert (lease.engine, lease.voice_source, lease.sample_hash) == ("tone", "local_clone", made.hash)
    assert lease.profile == b"profile of " + made.hash.encode()
    assert lease.fence > 0


async def test_a_stored_sample_is_the_users_own_speech_as_mp3(stage: Stage) -> None:
    me = signed_in()
    made = await stage.voice.UploadVoice(as_json(samples.speech(1, "wav")), **me)
    source = await stage.voice.GetVoiceSource(pb.GetVoiceSourceRequest(user_id="me"), **me)
    assert (source.hash, source.mime, source.voice_clone_id) == (made.hash, "audio/mpeg", made.voice_clone_id)
    mp3 = base64.b64decode(source.audio_base64)
    assert len(mp3) == made.bytes
    raw = await stage.voice.GetVoiceSourceAudio(pb.GetVoiceSourceAudioRequest(user_id="me"), **me)
    assert (raw.body.content_type, raw.body.data) == ("audio/mpeg", mp3)
    assert abs(len(samples.signal(mp3)) / samples.RATE - made.duration) < 0.2


async def test_all_ways_of_uploading_the_same_recording_are_the_same_sample(stage: Stage) -> None:
    me, recording = signed_in(), samples.speech(2, "ogg")
    form, form_type = samples.multipart(recording, "voice.bin", "application/octet-stream")
    wrapped = "\n".join(base64.encodebytes(recording).decode().splitlines())
    url = "data:audio/ogg;codecs=opus;base64," + base64.b64encode(recording).decode()
    replies = [
        await stage.voice.UploadVoice(as_json(recording, audio_base64=wrapped), **me),
        await stage.voice.UploadVoice(as_json(recording, audio_base64=url), **me),
        await stage.voice.UploadVoiceFile(as_body(recording, "audio/ogg"), **me),
        await stage.voice.UploadVoiceFile(as_body(recording, "application/octet-stream"), **me),
        await stage.voice.UploadVoiceFile(as_body(form, form_type), **me),
    ]
    assert [reply.action for reply in replies] == ["created", *["unchanged"] * 4]
    assert [reply.dedup for reply in replies] == [False, *[True] * 4]
    assert len({(reply.hash, reply.voice_clone_id) for reply in replies}) == 1


async def test_another_sample_replaces_the_voice_and_nothing_of_the_old_one_stays(stage: Stage) -> None:
    me = signed_in()
    before = stage.blobs()
    first = await stage.voice.UploadVoice(as_json(samples.speech(3)), **me)
    old_blobs = stage.blobs() - before
    old_lease = await stage.voice.LeaseVoice(lease_of(user_of(me)))
    second = await stage.voice.UploadVoice(as_json(samples.speech(4)), **me)
    new_lease = await stage.voice.LeaseVoice(lease_of(user_of(me)))
    assert (second.action, second.dedup) == ("updated", False)
    assert second.voice_clone_id != first.voice_clone_id
    assert new_lease.fence > old_lease.fence
    assert new_lease.profile == b"profile of " + second.hash.encode()
    assert len(old_blobs) == 2
    assert not old_blobs & stage.blobs()
    assert len(stage.blobs() - before) == 2


async def test_twenty_first_uploads_at_once_make_one_voice(stage: Stage) -> None:
    me, enrolled, before = signed_in(), stage.enrolments.count, stage.blobs()
    request = as_body(samples.speech(5, seconds=31.0))
    wide = {**stage.environment, "VOICE_SAMPLE_QUEUE": "20"}
    async with open_replica(wide) as first, open_replica(wide) as second:
        calls = [(first, second)[number % 2].UploadVoiceFile(request, **me) for number in range(20)]
        replies = await asyncio.gather(*calls)
    assert sorted(reply.action for reply in replies) == ["created", *["unchanged"] * 19]
    assert len({reply.voice_clone_id for reply in replies}) == 1
    assert stage.enrolments.count == enrolled + 1
    assert len(stage.blobs() - before) == 2


REFUSALS: list[tuple[str, int, Callable[[], object]]] = [
    ("SAMPLE_TOO_SHORT", 400, lambda: as_json(samples.short_speech())),
    ("SAMPLE_TOO_LONG", 400, lambda: as_json(samples.long_speech())),
    ("SAMPLE_SILENT", 400, lambda: as_json(samples.silence())),
    ("SAMPLE_TOO_QUIET", 400, lambda: as_json(samples.quiet_speech())),
    ("SAMPLE_CLIPPED", 400, lambda: as_json(samples.clipped_speech())),
    ("SAMPLE_NOT_SPEECH", 400, lambda: as_json(samples.music())),
    ("SAMPLE_NOT_SPEECH", 400, lambda: as_json(samples.noise())),
    ("SAMPLE_NOT_SPEECH", 400, lambda: as_json(samples.tone())),
    ("SAMPLE_UNREADABLE", 400, lambda: as_json(samples.truncated_webm())),
    ("SAMPLE_UNREADABLE", 400, lambda: as_json(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 20)),
    ("SAMPLE_UNREADABLE", 400, lambda: as_json(b"", audio_base64="data:audio/webm;base64,")),
    ("SAMPLE_MEDIA_UNKNOWN", 415, lambda: as_json(samples.text_named_mp3())),
    ("SAMPLE_TOO_LARGE", 413, lambda: as_json(samples.four_mebibytes())),
    ("AUDIO_BASE64_INVALID", 400, lambda: as_json(b"", audio_base64="this is not base64!")),
    ("AUDIO_BASE64_INVALID", 400, lambda: as_json(b"", audio_base64="data:audio/webm,plain")),
    ("AUDIO_BASE64_INVALID", 400, lambda: as_json(b"", audio_base64="_-_-")),
    ("INVALID_REQUEST", 400, lambda: as_json(b"", audio_base64="")),
    ("INVALID_REQUEST", 400, lambda: as_json(samples.speech(), duration_seconds=-1.0)),
    ("INVALID_REQUEST", 400, lambda: as_json(samples.speech(), consent="x" * 1001)),
    ("SAMPLE_UNREADABLE", 400, lambda: as_body(b"")),
    ("SAMPLE_MEDIA_UNKNOWN", 415, lambda: as_body(samples.text_named_mp3())),
    ("SAMPLE_MEDIA_UNKNOWN", 415, lambda: as_body(samples.speech(), "text/plain")),
    ("SAMPLE_TOO_LARGE", 413, lambda: as_body(samples.four_mebibytes(), "audio/wav")),
    ("SAMPLE_FILE_MISSING", 400, lambda: as_body(b"--x\r\n\r\n", "multipart/form-data; boundary=x")),
    ("SAMPLE_FILE_MISSING", 400, lambda: as_body(b"no boundary", "multipart/form-data")),
]


@pytest.mark.parametrize(
    ("reason", "status", "request_of"), REFUSALS, ids=[f"{n}-{row[0]}" for n, row in enumerate(REFUSALS)]
)
async def test_a_recording_that_is_no_sample_is_refused_and_nothing_is_stored(
    stage: Stage, reason: str, status: int, request_of: Callable[[], object]
) -> None:
    me, before, request = signed_in(), stage.blobs(), request_of()
    upload = (
        stage.voice.UploadVoice if isinstance(request, pb.UploadVoiceRequest) else stage.voice.UploadVoiceFile
    )
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await upload(request, **me)
    error = failure_of(failure.value)
    assert (error.error, error.http_status) == (reason, status)
    assert error.message.endswith((".", "!"))
    assert error.action
    assert stage.blobs() == before
    assert await stage.documents.find_one({"_id": user_of(me)}) is None


async def test_a_refused_recording_leaves_the_voice_as_it_was(stage: Stage) -> None:
    me = signed_in()
    made = await stage.voice.UploadVoice(as_json(samples.speech()), **me)
    with pytest.raises(grpc.aio.AioRpcError):
        await stage.voice.UploadVoice(as_json(samples.music()), **me)
    lease = await stage.voice.LeaseVoice(lease_of(user_of(me)))
    assert lease.sample_hash == made.hash


async def test_a_busy_engine_is_told_and_the_same_upload_works_afterwards(stage: Stage) -> None:
    me, before, request = signed_in(), stage.blobs(), as_json(samples.speech())
    stage.enrolments.busy = True
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.UploadVoice(request, **me)
    stage.enrolments.busy = False
    assert failure_of(failure.value).error == "SPEECH_ENGINE_BUSY"
    assert stage.blobs() == before
    assert await stage.documents.find_one({"_id": user_of(me)}) is None
    assert (await stage.voice.UploadVoice(request, **me)).action == "created"


async def test_deleting_erases_sample_profile_and_document_and_can_be_repeated(stage: Stage) -> None:
    me, before = signed_in(), stage.blobs()
    await stage.voice.UploadVoice(as_json(samples.speech()), **me)
    await stage.voice.LeaseVoice(lease_of(user_of(me)))
    for _ in range(2):
        await stage.voice.DeleteVoice(pb.DeleteVoiceRequest(user_id="me"), **me)
    assert stage.blobs() == before
    assert await stage.documents.find_one({"_id": user_of(me)}) is None
    meta = await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id="me"), **me)
    assert (meta.has_sample, meta.has_clone, meta.state) == (False, False, "none")
    assert not meta.HasField("updated_at")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.LeaseVoice(lease_of(user_of(me)))
    error = failure_of(failure.value)
    assert (error.error, error.http_status) == ("VOICE_CLONE_REQUIRED", 409)


async def test_a_voice_made_again_after_deletion_has_a_higher_fence(stage: Stage) -> None:
    me, request = signed_in(), as_json(samples.speech())
    await stage.voice.UploadVoice(request, **me)
    first = await stage.voice.LeaseVoice(lease_of(user_of(me)))
    await stage.voice.DeleteVoice(pb.DeleteVoiceRequest(user_id="me"), **me)
    await stage.voice.UploadVoice(request, **me)
    assert (await stage.voice.LeaseVoice(lease_of(user_of(me)))).fence > first.fence


async def test_what_is_stored_is_encrypted(stage: Stage) -> None:
    me, before = signed_in(), stage.blobs()
    made = await stage.voice.UploadVoice(as_json(samples.speech()), **me)
    source = await stage.voice.GetVoiceSourceAudio(pb.GetVoiceSourceAudioRequest(user_id="me"), **me)
    stored = [(stage.folder / name).read_bytes() for name in stage.blobs() - before]
    assert len(stored) == 2
    for sealed in stored:
        assert b"profile of" not in sealed
        assert source.body.data[1000:1064] not in sealed
    document = await stage.documents.find_one({"_id": user_of(me)})
    assert document["sample"]["hash"] == made.hash
    assert document["sample"]["audio"]["key_id"] == document["clone"]["profile"]["key_id"]


async def test_consent_is_kept_with_the_sample(stage: Stage) -> None:
    me = signed_in()
    await stage.voice.UploadVoice(as_json(samples.speech(), consent="My voice, my choice."), **me)
    consent = (await stage.documents.find_one({"_id": user_of(me)}))["sample"]["consent"]
    assert consent["statement"] == "My voice, my choice."
    assert "grpc" in consent["client"]
    given = consent["given_at"].replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - given) < timedelta(minutes=2)


async def test_a_lease_can_be_repeated_and_released_more_than_once(stage: Stage) -> None:
    me = signed_in()
    await stage.voice.UploadVoice(as_json(samples.speech()), **me)
    request = lease_of(user_of(me))
    assert await stage.voice.LeaseVoice(request) == await stage.voice.LeaseVoice(request)
    release = pb.ReleaseVoiceRequest(user_id=request.user_id, performance_id=request.performance_id)
    for _ in range(2):
        await stage.voice.ReleaseVoice(release)


@pytest.mark.parametrize("route", ["GetVoiceSource", "GetVoiceSourceAudio"])
async def test_a_user_without_a_sample_is_told_so(stage: Stage, route: str) -> None:
    request = {
        "GetVoiceSource": pb.GetVoiceSourceRequest(user_id="me"),
        "GetVoiceSourceAudio": pb.GetVoiceSourceAudioRequest(user_id="me"),
    }[route]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await getattr(stage.voice, route)(request, **signed_in())
    assert failure_of(failure.value).error == "VOICE_SAMPLE_NOT_FOUND"


@pytest.mark.parametrize(
    ("route", "request_of"),
    [
        ("UploadVoice", lambda user: as_json(b"x", user_id=user)),
        ("UploadVoiceFile", lambda user: pb.UploadVoiceFileRequest(user_id=user, file=HttpBody(data=b"x"))),
        ("GetVoiceMeta", lambda user: pb.GetVoiceMetaRequest(user_id=user)),
        ("GetVoiceSource", lambda user: pb.GetVoiceSourceRequest(user_id=user)),
        ("GetVoiceSourceAudio", lambda user: pb.GetVoiceSourceAudioRequest(user_id=user)),
        ("DeleteVoice", lambda user: pb.DeleteVoiceRequest(user_id=user)),
    ],
)
async def test_somebody_elses_voice_is_hidden(
    stage: Stage, route: str, request_of: Callable[[str], object]
) -> None:
    theirs = signed_in()
    call = getattr(stage.voice, route)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call(request_of(user_of(theirs)), **signed_in())
    assert failure_of(failure.value).error == "USER_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call(request_of("me"))
    assert failure_of(failure.value).error == "UNAUTHENTICATED"


async def test_administrators_see_what_there_is_of_a_voice_and_nothing_of_nobody(stage: Stage) -> None:
    theirs, admin = signed_in(), signed_in(roles="user admin")
    await stage.voice.UploadVoice(as_json(samples.speech(6)), **theirs)
    assert (
        await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id=user_of(theirs)), **admin)
    ).has_sample
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id=f"user-{uuid4()}"), **admin)
    assert failure_of(failure.value).error == "USER_NOT_FOUND"


async def test_uploads_beyond_the_queue_are_asked_to_come_back(stage: Stage) -> None:
    narrow = {**stage.environment, "VOICE_SAMPLE_WORKERS": "1", "VOICE_SAMPLE_QUEUE": "1"}
    request = as_body(samples.speech())
    async with open_replica(narrow) as voice:
        calls = [voice.UploadVoiceFile(request, **signed_in()) for _ in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    failures = [failure for failure in outcomes if isinstance(failure, grpc.aio.AioRpcError)]
    assert [reply.action for reply in outcomes if isinstance(reply, pb.UploadVoiceFileResponse)] == [
        "created"
    ] * 2
    assert [failure_of(failure).error for failure in failures] == ["SAMPLE_QUEUE_FULL"] * 2
    assert {failure_of(failure).http_status for failure in failures} == {503}


async def test_the_hash_is_of_what_the_engine_was_given(stage: Stage) -> None:
    me = signed_in()
    made = await stage.voice.UploadVoice(as_json(samples.speech(6)), **me)
    lease = await stage.voice.LeaseVoice(lease_of(user_of(me)))
    assert lease.profile.decode().split()[-1] == made.hash
    assert profile_of(b"") == b"profile of " + hashlib.sha256(b"").hexdigest().encode()
