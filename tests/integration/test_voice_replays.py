"""An upload or a clone that is asked for again under its Idempotency-Key gives its first answer again."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from newvisions.voice.v1 import voice_service_pb2 as pb
from tests import samples
from tests.integration.voice_stage import Stage, failure_of, open_stage, signed_in


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with open_stage(mongo_url, valkey_url, tmp_path_factory.mktemp("voice")) as opened:
        yield opened


def under(key: str, caller: dict[str, Any]) -> dict[str, Any]:
    return {**caller, "metadata": (*caller["metadata"], ("idempotency-key", key))}


def as_json(recording: bytes) -> pb.UploadVoiceRequest:
    return pb.UploadVoiceRequest(user_id="me", audio_base64=base64.b64encode(recording).decode())


def as_form(recording: bytes, boundary: str) -> pb.UploadVoiceFileRequest:
    body, content_type = samples.multipart(recording)
    usual = content_type.partition("boundary=")[2]
    body, content_type = (
        body.replace(usual.encode(), boundary.encode()),
        content_type.replace(usual, boundary),
    )
    return pb.UploadVoiceFileRequest(user_id="me", file=HttpBody(content_type=content_type, data=body))


async def test_an_upload_whose_answer_was_lost_gives_it_again(stage: Stage) -> None:
    me = signed_in()
    asked, keyed = as_json(samples.speech(1)), under(str(uuid4()), me)
    first = await stage.voice.UploadVoice(asked, **keyed)
    assert first.action == "created"
    # Another sample came in between: the first answer stays what it was, and changes nothing back.
    second = await stage.voice.UploadVoice(as_json(samples.speech(2)), **me)
    assert await stage.voice.UploadVoice(asked, **keyed) == first
    meta = await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id="me"), **me)
    assert meta.voice_clone_id == second.voice_clone_id


async def test_twins_of_one_upload_are_one_upload(stage: Stage) -> None:
    me = signed_in()
    asked, keyed = as_json(samples.speech(3)), under("twins", me)
    answers = await asyncio.gather(*(stage.voice.UploadVoice(asked, **keyed) for _ in range(5)))
    assert {answer.action for answer in answers} == {"created"}
    assert len({answer.voice_clone_id for answer in answers}) == 1


async def test_another_recording_under_the_same_key_is_refused(stage: Stage) -> None:
    me = signed_in()
    keyed = under("once", me)
    first = await stage.voice.UploadVoice(as_json(samples.speech(1)), **keyed)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.UploadVoice(as_json(samples.speech(2)), **keyed)
    assert failure_of(failure.value).error == "IDEMPOTENCY_KEY_REUSED"
    meta = await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id="me"), **me)
    assert meta.voice_clone_id == first.voice_clone_id


async def test_an_upload_is_the_same_whether_its_user_is_called_me_or_by_id(stage: Stage) -> None:
    me = signed_in()
    user_id, keyed = dict(me["metadata"])["x-user-id"], under("named", me)
    asked = [as_json(samples.speech(1)), as_json(samples.speech(1))]
    asked[1].user_id = user_id
    answers = [await stage.voice.UploadVoice(each, **keyed) for each in asked]
    assert answers[0] == answers[1]


async def test_a_form_is_the_same_form_whatever_stands_between_its_fields(stage: Stage) -> None:
    keyed, recording = under("form", signed_in()), samples.speech(4)
    answers = [
        await stage.voice.UploadVoiceFile(as_form(recording, boundary), **keyed)
        for boundary in ("--one-of-many", "--another-one")
    ]
    assert [answer.action for answer in answers] == ["created", "created"]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.UploadVoiceFile(as_form(samples.speech(1), "--one-of-many"), **keyed)
    assert failure_of(failure.value).error == "IDEMPOTENCY_KEY_REUSED"


async def test_a_refused_recording_gives_its_key_back(stage: Stage) -> None:
    keyed = under("again", signed_in())
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.UploadVoice(as_json(b"no recording"), **keyed)
    assert failure_of(failure.value).error == "SAMPLE_MEDIA_UNKNOWN"
    assert (await stage.voice.UploadVoice(as_json(samples.speech(1)), **keyed)).action == "created"


async def test_a_clone_gives_its_first_answer_again(stage: Stage) -> None:
    me = signed_in()
    await stage.voice.UploadVoice(as_json(samples.speech(2)), **me)
    keyed = under("clone", me)
    answers = [await stage.voice.CloneVoice(pb.CloneVoiceRequest(user_id="me"), **keyed) for _ in range(2)]
    assert answers[0] == answers[1]
