"""Voices at a provider, from the first upload to the erasure, over a real socket."""

from collections.abc import AsyncIterator
from uuid import uuid4

import grpc
import pytest

from newvisions.voice.v1 import voice_service_pb2 as pb
from tests.integration.voice_pool_stage import PoolStage, open_pool_stage, spoken, until, upload_of
from tests.integration.voice_stage import failure_of, open_replica, signed_in, user_of


@pytest.fixture(scope="module")
async def opened(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PoolStage]:
    async with open_pool_stage(mongo_url, valkey_url, tmp_path_factory.mktemp("pool")) as stage:
        yield stage


@pytest.fixture
async def stage(opened: PoolStage) -> PoolStage:
    await opened.begin()
    return opened


async def test_created_unchanged_updated_and_erased(stage: PoolStage) -> None:
    me = signed_in()
    user_id = user_of(me)
    first = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert (first.action, first.dedup) == ("created", False)
    meta = await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id="me"), **me)
    assert (meta.in_pool, meta.state, meta.voice_clone_id) == (True, "ready", first.voice_clone_id)
    lease = await stage.lease(user_id)
    assert (lease.engine, lease.voice_source, lease.profile) == ("elevenlabs", "provider_voice_id", b"")
    assert lease.sample_hash == first.hash

    again = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert (again.action, again.dedup) == ("unchanged", True)
    assert (await stage.simulator.audit())["adds"] == 1

    await stage.forget_performances(user_id)
    second = await stage.voice.UploadVoiceFile(upload_of(spoken(1)), **me)
    assert (second.action, second.dedup) == ("updated", False)
    assert await stage.effects() == ["add", "add", "delete"]
    replaced = await stage.lease(user_id)
    assert replaced.sample_hash == second.hash
    assert replaced.fence > lease.fence
    assert replaced.engine_voice_id != lease.engine_voice_id
    await stage.consistent()

    await stage.voice.DeleteVoice(pb.DeleteVoiceRequest(user_id="me"), **me)
    assert await stage.held() == set()
    assert await stage.slots() == {}
    assert await stage.documents.find_one({"_id": user_id}) is None
    assert stage.enrolments.count == 0


async def test_a_voice_of_the_embedded_engine_is_promoted_and_kept_for_the_overflow(stage: PoolStage) -> None:
    me = signed_in()
    embedded = {**stage.environment, "VOICE_PROVIDER": ""}
    async with open_replica(embedded) as without_provider:
        made = await without_provider.UploadVoiceFile(upload_of(spoken()), **me)
    assert made.action == "created"
    promoted = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert (promoted.action, promoted.dedup, promoted.hash) == ("promoted", True, made.hash)
    assert promoted.voice_clone_id != made.voice_clone_id
    voice = await stage.document(user_of(me))
    assert voice.clone is not None
    assert voice.clone.in_pool
    assert voice.standby is not None
    assert voice.standby.clone_id == made.voice_clone_id
    assert (await stage.lease(user_of(me))).voice_source == "provider_voice_id"
    async with open_replica(embedded) as without_provider:
        request = pb.LeaseVoiceRequest(user_id=user_of(me), performance_id=str(uuid4()))
        lease = await without_provider.LeaseVoice(request)
        assert lease.voice_source == "local_clone"
        assert lease.profile == b"profile of " + made.hash.encode()


async def test_cloning_again_is_promoted_created_or_unchanged(stage: PoolStage) -> None:
    user_id = await stage.given()
    me = signed_in(user_id)
    request = pb.CloneVoiceRequest(user_id="me")
    created = await stage.voice.CloneVoice(request, **me)
    assert (created.action, created.dedup) == ("created", True)
    unchanged = await stage.voice.CloneVoice(request, **me)
    assert (unchanged.action, unchanged.voice_clone_id) == ("unchanged", created.voice_clone_id)
    assert (await stage.simulator.audit())["adds"] == 1
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.CloneVoice(request, **signed_in())
    assert failure_of(failure.value).error == "VOICE_SAMPLE_NOT_FOUND"


async def test_an_update_takes_the_own_place_when_no_other_is_free(stage: PoolStage) -> None:
    me = signed_in()
    first = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    others = [await stage.given(held=True) for _ in range(2)]
    second = await stage.voice.UploadVoiceFile(upload_of(spoken(1)), **me)
    assert second.action == "updated"
    assert second.voice_clone_id != first.voice_clone_id
    assert await stage.effects() == ["add", "add", "add", "delete", "add"]
    assert (await stage.simulator.audit())["most_voices_at_once"] == 3
    assert await stage.held() == {user_of(me), *others}
    await stage.consistent()


async def test_an_update_during_a_performance_leaves_its_voice_until_it_is_over(stage: PoolStage) -> None:
    me = signed_in()
    await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    lease = await stage.lease(user_of(me))
    updated = await stage.voice.UploadVoiceFile(upload_of(spoken(1)), **me)
    assert updated.action == "updated"
    voices = {voice["voice_id"] for voice in (await stage.simulator.audit())["voices"]}
    assert lease.engine_voice_id in voices
    assert len(voices) == 2
    (left,) = (await stage.document(user_of(me))).leftovers
    assert left.engine_voice_id == lease.engine_voice_id
    assert left.not_before is not None
    # An erasure does not wait.
    await stage.voice.DeleteVoice(pb.DeleteVoiceRequest(user_id="me"), **me)
    assert await stage.held() == set()


async def test_a_voice_that_was_removed_behind_our_back_is_cloned_again(stage: PoolStage) -> None:
    user_id = await stage.given(held=True)
    lease = await stage.lease(user_id)
    report = pb.ReportMissingVoiceRequest(
        user_id=user_id, engine_voice_id=lease.engine_voice_id, fence=lease.fence
    )
    # Of another lease: nothing happens.
    stale = pb.ReportMissingVoiceRequest(
        user_id=user_id, engine_voice_id=lease.engine_voice_id, fence=lease.fence - 1
    )
    await stage.voice.ReportMissingVoice(stale)
    assert (await stage.lease(user_id)).engine_voice_id == lease.engine_voice_id
    for _ in range(2):
        await stage.voice.ReportMissingVoice(report)
    assert (await stage.document(user_id)).state == "evicted"
    assert await stage.slots() == {}
    renewed = await stage.lease(user_id)
    assert renewed.engine_voice_id != lease.engine_voice_id
    assert renewed.fence > lease.fence
    await stage.consistent()


async def test_touching_prepares_a_voice_before_it_is_needed(stage: PoolStage) -> None:
    user_id = await stage.given()
    me = signed_in(user_id)
    request = pb.TouchVoiceRequest(user_id="me")
    touched = await stage.voice.TouchVoice(request, **me)
    assert (touched.status, touched.enabled, touched.HasField("position")) == ("warming", True, False)

    async def ready() -> bool:
        return str((await stage.voice.TouchVoice(request, **me)).status) == "ready"

    await until(ready)
    await stage.given(held=True)
    touched = await stage.voice.TouchVoice(request, **me)
    assert (touched.position, touched.size) == (0, 2)
    assert touched.voice_clone_id
    assert (await stage.lease(user_id)).voice_source == "provider_voice_id"
    assert (await stage.simulator.audit())["adds"] == 2
    assert (await stage.voice.TouchVoice(request, **signed_in())).status == "missing"


async def test_an_erased_user_leaves_nothing_at_the_provider_and_in_the_cache(stage: PoolStage) -> None:
    user_id = await stage.given(held=True)
    await stage.lease(user_id)
    erased = await stage.voice.EraseUser(pb.EraseUserRequest(user_id=user_id, erasure_id=str(uuid4())))
    assert erased.done
    assert await stage.held() == set()
    assert await stage.slots() == {}
    left = [key async for key in stage.cache.scan_iter(f"*{user_id}*")]
    assert left == []
    assert await stage.cache.zscore("voice:pool:recency", user_id) is None
