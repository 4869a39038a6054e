"""Erasing a user from the voice service, and showing what is kept of one."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from newvisions.voice.v1 import voice_service_pb2 as pb
from tests import samples
from tests.integration.voice_stage import Stage, open_stage, signed_in, user_of


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with open_stage(mongo_url, valkey_url, tmp_path_factory.mktemp("erasure")) as opened:
        yield opened


async def upload(stage: Stage, speaker: int = 0, consent: str = "") -> tuple[str, pb.UploadVoiceResponse]:
    me = signed_in()
    audio = base64.b64encode(samples.speech(speaker)).decode()
    request = pb.UploadVoiceRequest(user_id="me", audio_base64=audio, consent=consent)
    keyed = {**me, "metadata": (*me["metadata"], ("idempotency-key", str(uuid4())))}
    return user_of(me), await stage.voice.UploadVoice(request, **keyed)


def erase(stage: Stage, user_id: str) -> Any:
    return stage.voice.EraseUser(pb.EraseUserRequest(user_id=user_id, erasure_id=str(uuid4())), timeout=30)


async def everything(stage: Stage, valkey_url: str) -> str:
    """Documents, names of blobs and keys of the cache, in words."""
    async with Redis.from_url(valkey_url, decode_responses=True) as valkey:
        keys = [key async for key in valkey.scan_iter()]
    documents = [str(each) async for each in stage.documents.find()]
    return " ".join([*documents, *stage.blobs(), *keys])


async def test_nothing_of_an_erased_user_is_left(stage: Stage, valkey_url: str) -> None:
    blobs = stage.blobs()
    user_id, made = await upload(stage, consent="I agree.")
    await stage.voice.LeaseVoice(pb.LeaseVoiceRequest(user_id=user_id, performance_id=str(uuid4())))
    before = await everything(stage, valkey_url)
    assert before.count(user_id) == 2
    assert made.hash in before
    answer = await erase(stage, user_id)
    assert (dict(answer.erased), answer.done) == (
        {"samples": 1, "clones": 1, "blobs": 2, "answers": 1},
        True,
    )
    after = await everything(stage, valkey_url)
    assert user_id not in after
    assert made.hash not in after
    assert stage.blobs() == blobs


async def test_erasing_again_finds_nothing(stage: Stage) -> None:
    user_id, _ = await upload(stage)
    await erase(stage, user_id)
    answer = await erase(stage, user_id)
    assert (sum(answer.erased.values()), answer.done) == (0, True)


async def test_other_users_keep_their_voices(stage: Stage) -> None:
    other, _ = await upload(stage, 1)
    user_id, _ = await upload(stage)
    before = await stage.documents.find_one({"_id": other})
    await erase(stage, user_id)
    assert await stage.documents.find_one({"_id": other}) == before
    assert await stage.voice.LeaseVoice(pb.LeaseVoiceRequest(user_id=other, performance_id=str(uuid4())))


async def test_an_upload_that_died_is_waited_for(stage: Stage) -> None:
    user_id, _ = await upload(stage)
    under_way = {
        "attempt_id": str(uuid4()),
        "provider": "local",
        "expires_at": datetime.now(UTC) + timedelta(seconds=1),
    }
    await stage.documents.update_one({"_id": user_id}, {"$set": {"attempt": under_way}})
    first = await erase(stage, user_id)
    assert (dict(first.erased)["samples"], first.done) == (1, False)
    assert not (await erase(stage, user_id)).done
    left = (await stage.documents.find_one({"_id": user_id}))["leftovers"]
    a_minute_later = [{**each, "until": datetime.now(UTC)} for each in left]
    await stage.documents.update_one({"_id": user_id}, {"$set": {"leftovers": a_minute_later}})
    assert (await erase(stage, user_id)).done
    assert await stage.documents.find_one({"_id": user_id}) is None


async def test_an_export_shows_sample_and_consent_but_no_audio(stage: Stage) -> None:
    user_id, made = await upload(stage, consent="I agree.")
    shown = await stage.voice.ExportUser(pb.ExportUserRequest(user_id=user_id), timeout=30)
    assert (shown.state, shown.voice_clone_id, shown.voice_source) == (
        "ready",
        made.voice_clone_id,
        "local_clone",
    )
    assert (shown.sample.hash, shown.sample.consent) == (made.hash, "I agree.")
    assert shown.sample.HasField("consent_given_at")
    assert shown.ByteSize() < 1000


async def test_there_is_nothing_to_show_of_who_never_came(stage: Stage) -> None:
    shown = await stage.voice.ExportUser(pb.ExportUserRequest(user_id=f"user-{uuid4()}"), timeout=30)
    assert (shown.state, shown.HasField("sample"), shown.HasField("voice_clone_id")) == ("none", False, False)
