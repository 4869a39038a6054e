"""Erasing a user from the perform service, and showing all there is of one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pymongo import AsyncMongoClient

from newvisions.perform.v1 import perform_service_pb2 as pb
from services.kernel.errors import Kind, ServiceError
from services.perform.filing import place
from tests.integration.perform_stage import TEXT, Peers, Stage, order, performing, played, refusal

Documents = Any


class Away(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"


class Closed(ServiceError):
    kind, reason = Kind.NOT_FOUND, "USER_NOT_FOUND"


@pytest.fixture
def environment(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PERFORM_MONGO_URL", mongo_url)
    monkeypatch.setenv("PERFORM_MONGO_DATABASE", f"perform-{uuid4().hex}")
    monkeypatch.setenv("PERFORM_BLOB_URL", (tmp_path / "blobs").as_uri())
    monkeypatch.setenv("PERFORM_SWEEP_INTERVAL_SECONDS", "0.05")
    return monkeypatch


@pytest.fixture
async def stage(environment: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    peers = Peers()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(played(peers))
        for peer in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS"):
            environment.setenv(f"PERFORM_{peer}_ADDRESS", address)
        yield Stage(await stack.enter_async_context(performing()), peers)


@pytest.fixture
async def documents(
    stage: Stage, mongo_url: str, environment: pytest.MonkeyPatch
) -> AsyncIterator[Documents]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, uuidRepresentation="standard") as client:
        yield client[os.environ["PERFORM_MONGO_DATABASE"]]["performances"]


async def words(documents: Documents) -> str:
    return "".join([str(each) async for each in documents.find()])


def stored(tmp_path: Path) -> list[str]:
    """Also folders: their names count."""
    return [str(path.relative_to(tmp_path)) for path in (tmp_path / "blobs").rglob("*")]


async def erase(stage: Stage, user_id: str = "") -> pb.EraseUserResponse:
    request = pb.EraseUserRequest(user_id=user_id or stage.user_id, erasure_id=str(uuid4()))
    answer: pb.EraseUserResponse = await stage.stub.EraseUser(request, timeout=20)
    return answer


async def test_nothing_of_an_erased_user_is_left(stage: Stage, documents: Documents, tmp_path: Path) -> None:
    for _ in range(2):
        await stage.perform(idempotency_key=f"key of {stage.user_id} {uuid4()}")
    stage.peers.fail["lease"] = Away("Away.")
    await refusal(stage.stub.Perform(order(), **stage.by()))
    assert TEXT in await words(documents)
    assert any(stage.user_id in name for name in stored(tmp_path))
    answer = await erase(stage)
    assert (dict(answer.erased), answer.done) == ({"performances": 3, "recordings": 2, "blobs": 2}, True)
    assert await words(documents) == ""
    assert not any(stage.user_id in name for name in stored(tmp_path))


async def test_erasing_again_finds_nothing(stage: Stage) -> None:
    await stage.perform()
    await erase(stage)
    answer = await erase(stage)
    assert (sum(answer.erased.values()), answer.done) == (0, True)


async def test_other_users_keep_all_they_have(stage: Stage, documents: Documents) -> None:
    other = f"user-{uuid4()}"
    kept = await stage.perform(other)
    await stage.perform()
    before = [each async for each in documents.find({"user_id": other})]
    await erase(stage)
    assert [each async for each in documents.find()] == before
    asked = pb.GetRecordingAudioRequest(recording_id=kept.recording_id)
    assert (await stage.stub.GetRecordingAudio(asked, **stage.by(other))).body.data == kept.audio_base64


async def test_a_performance_under_way_is_not_kept_and_not_charged(
    stage: Stage, documents: Documents, tmp_path: Path
) -> None:
    stage.peers.held.clear()
    performance = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    answer = await erase(stage)
    assert answer.done
    stage.peers.held.set()
    with pytest.raises(grpc.aio.AioRpcError):
        await performance
    await stage.peers.until(lambda: not stage.peers.reserved and not stage.peers.leased)
    assert stage.peers.charged == {}
    assert await words(documents) == ""
    assert not any(stage.user_id in name for name in stored(tmp_path))


async def test_what_still_has_to_be_paid_is_paid_if_there_is_an_account_to_pay(
    stage: Stage, documents: Documents
) -> None:
    stage.peers.fail["settle"] = Away("Away.")
    await refusal(stage.stub.Perform(order(), **stage.by()))
    with pytest.raises(grpc.aio.AioRpcError):
        await erase(stage)
    assert TEXT in await words(documents)
    stage.peers.fail["settle"] = Closed("There is no such user.")
    assert (await erase(stage)).done
    assert await words(documents) == ""


async def test_more_than_one_call_can_take_is_taken_by_the_next(stage: Stage, documents: Documents) -> None:
    await stage.perform()
    (one,) = [each async for each in documents.find()]
    copies = [{**one, "_id": uuid4(), "key": f"key-{number}"} for number in range(120)]
    await documents.insert_many(copies)
    first = await erase(stage)
    assert (first.erased["performances"], first.done) == (100, False)
    second = await erase(stage)
    assert (second.erased["performances"], second.done) == (21, True)


async def test_an_export_shows_every_recording_without_the_audio(stage: Stage, documents: Documents) -> None:
    made = await stage.perform()
    await stage.perform(f"user-{uuid4()}")
    (one,) = [each async for each in documents.find({"user_id": stage.user_id})]
    made_at = one["recording"]["created_at"].replace(tzinfo=UTC)
    ids = [uuid4() for _ in range(120)]
    copies = [{**one, "_id": each, "key": str(each), "place": place(made_at, each)} for each in ids]
    await documents.insert_many(copies)
    first = await stage.stub.ExportUser(pb.ExportUserRequest(user_id=stage.user_id), timeout=20)
    assert len(first.recordings) == 100
    rest = pb.ExportUserRequest(user_id=stage.user_id, page_token=first.next_page_token)
    second = await stage.stub.ExportUser(rest, timeout=20)
    assert (len(second.recordings), second.next_page_token) == (21, "")
    shown = {each.id: each for each in [*first.recordings, *second.recordings]}
    assert shown[made.recording_id].text == TEXT
    assert shown[made.recording_id].filename == made.filename
