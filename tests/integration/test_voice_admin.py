"""The pool and its clones as operators see them, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from structlog.testing import capture_logs

from dev.simulator.faults import Fault
from newvisions.voice.v1 import voice_pool_service_pb2 as pb
from newvisions.voice.v1 import voice_service_pb2 as voice_pb
from newvisions.voice.v1.voice_pool_service_pb2_grpc import VoicePoolServiceStub
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from tests.integration.voice_pool_stage import PoolStage, open_pool_stage, spoken, upload_of
from tests.integration.voice_stage import failure_of, open_channel, signed_in, user_of

ADMIN = signed_in("u-admin", roles="user admin")
OPERATOR = signed_in("u-operator", roles="user operator")


@pytest.fixture(scope="module")
async def opened(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PoolStage]:
    folder = tmp_path_factory.mktemp("pool")
    async with open_pool_stage(mongo_url, valkey_url, folder, VOICE_ELEVENLABS_SECONDS="5") as stage:
        yield stage


@pytest.fixture(scope="module")
async def pool(opened: PoolStage) -> AsyncIterator[Any]:
    async with open_channel(opened.environment) as channel:
        yield VoicePoolServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
async def stage(opened: PoolStage, pool: Any) -> PoolStage:
    """As on the first day."""
    await opened.simulator.reset(slots=3, adds=20)
    await opened.documents.delete_many({})
    await opened.pools.delete_many({})
    await opened.cache.flushdb()
    await reconciled(pool)
    return opened


async def reconciled(pool: Any, *, dry_run: bool = False) -> pb.ReconcileVoicePoolResponse:
    """Replicas do it when they start, too."""
    async with asyncio.timeout(20):
        while True:
            with suppress(grpc.aio.AioRpcError):
                request = pb.ReconcileVoicePoolRequest(dry_run=dry_run)
                answer: pb.ReconcileVoicePoolResponse = await pool.ReconcileVoicePool(request, **ADMIN)
                return answer


def voice_at(channel: grpc.aio.Channel) -> Any:
    return VoiceServiceStub(channel)  # type: ignore[no-untyped-call]


async def refused(call: Any) -> tuple[str, int]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error = failure_of(failure.value)
    return error.error, error.http_status


async def clone_of(stage: PoolStage, user_id: str) -> str:
    clone = (await stage.document(user_id)).clone
    assert clone is not None
    return clone.clone_id


async def all_clones(pool: Any, size: int) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListVoiceClonesRequest(page_size=size, page_token=token)
        page = await pool.ListVoiceClones(request, **OPERATOR)
        assert len(page.clones) <= size
        found += [clone.voice_id for clone in page.clones]
        token = page.next_page_token
        if not token:
            return found


async def test_the_status_tells_what_the_pool_holds_and_what_is_left(stage: PoolStage, pool: Any) -> None:
    first = await stage.given(held=True)
    await stage.given(held=True)
    await stage.lease(first)
    await reconciled(pool)
    status = await pool.GetVoicePoolStatus(pb.GetVoicePoolStatusRequest(), **OPERATOR)
    assert (status.provider, status.capacity, status.size) == ("elevenlabs", 3, 2)
    assert (status.in_flight, status.pinned, status.deletion_pending, status.orphans) == (0, 1, 0, 0)
    assert (status.creations, status.evictions) == (2, 0)
    assert 0 < status.reuse_ratio < 1
    assert status.add_budget.limit == 20
    assert status.add_budget.used >= 2
    assert status.add_budget.resets_at.ToDatetime(UTC) > datetime.now(UTC)
    age = datetime.now(UTC) - status.last_reconcile.ToDatetime(UTC)
    assert age.total_seconds() < 60


async def test_the_providers_status_is_told_whatever_it_is(stage: PoolStage, pool: Any) -> None:
    await stage.given(held=True)
    request = pb.GetProviderStatusRequest()
    good = await pool.GetProviderStatus(request, **OPERATOR)
    assert (good.configured, good.available, good.reason) == (True, True, "")
    assert (good.voice_limit, good.voices_used) == (3, 1)
    await stage.simulator.ask_for("subscription", *[Fault.FAILED_BEFORE] * 3)
    away = await pool.GetProviderStatus(request, **OPERATOR)
    assert (away.configured, away.available, away.reason) == (True, False, "VOICE_PROVIDER_UNAVAILABLE")
    async with open_channel({**stage.environment, "VOICE_PROVIDER": ""}) as channel:
        embedded = VoicePoolServiceStub(channel)  # type: ignore[no-untyped-call]
        assert not (await embedded.GetProviderStatus(request, **OPERATOR)).configured


async def test_a_plan_without_a_limit_on_adds_tells_none(stage: PoolStage, pool: Any) -> None:
    await stage.pools.update_one({"_id": "elevenlabs"}, {"$set": {"most_adds": None}})
    status = await pool.GetVoicePoolStatus(pb.GetVoicePoolStatusRequest(), **OPERATOR)
    assert not status.add_budget.HasField("limit")


async def test_an_evicted_voice_makes_room_and_its_user_performs_again(stage: PoolStage, pool: Any) -> None:
    user_id = await stage.given(held=True)
    voice_id = await clone_of(stage, user_id)
    with capture_logs() as logs:
        told = await pool.EvictVoice(pb.EvictVoiceRequest(voice_id=voice_id), **ADMIN)
    assert (told.voice_id, told.user_id, told.removed) == (voice_id, user_id, True)
    (event,) = [line for line in logs if line["event"] == "voice_evicted"]
    assert event["cause"] == "operator"
    assert await stage.held() == set()
    assert (await stage.document(user_id)).state == "evicted"
    assert (await stage.lease(user_id)).voice_source == "provider_voice_id"
    await stage.consistent()


async def test_nobody_who_performs_is_interrupted(stage: PoolStage, pool: Any) -> None:
    user_id = await stage.given(held=True)
    performance_id = str(uuid4())
    await stage.lease(user_id, performance_id=performance_id)
    voice_id = await clone_of(stage, user_id)
    evicting = pb.EvictVoiceRequest(voice_id=voice_id)
    assert await refused(pool.EvictVoice(evicting, **ADMIN)) == ("VOICE_IN_USE", 409)
    deleting = pb.DeleteVoiceCloneRequest(voice_id=voice_id)
    assert await refused(pool.DeleteVoiceClone(deleting, **ADMIN)) == ("VOICE_IN_USE", 409)
    over = voice_pb.ReleaseVoiceRequest(user_id=user_id, performance_id=performance_id)
    await stage.voice.ReleaseVoice(over)
    assert (await pool.EvictVoice(evicting, **ADMIN)).removed


async def test_a_removal_that_the_provider_does_not_confirm_is_told_as_such(
    stage: PoolStage, pool: Any
) -> None:
    user_id = await stage.given(held=True)
    await stage.simulator.ask_for("delete", *[Fault.FAILED_BEFORE] * 3)
    request = pb.EvictVoiceRequest(voice_id=await clone_of(stage, user_id))
    assert not (await pool.EvictVoice(request, **ADMIN)).removed
    status = await pool.GetVoicePoolStatus(pb.GetVoicePoolStatusRequest(), **OPERATOR)
    assert (status.size, status.deletion_pending) == (1, 1)
    told = await reconciled(pool)
    assert (told.found, told.deletions_retried, told.pending) == (1, 1, 0)
    assert await stage.held() == set()
    await stage.consistent()


async def test_a_reconciliation_tells_what_it_would_do_and_does_it(stage: PoolStage, pool: Any) -> None:
    kept, lost = await stage.given(held=True), await stage.given(held=True)
    clone = (await stage.document(lost)).clone
    assert clone is not None
    async with httpx.AsyncClient(base_url=stage.simulator.url, headers={"xi-api-key": "by hand"}) as http:
        (await http.delete(f"/v1/voices/{clone.engine_voice_id}")).raise_for_status()
    dry = await reconciled(pool, dry_run=True)
    assert (dry.dry_run, dry.found, dry.missing, dry.pending) == (True, 1, 1, 0)
    assert (await stage.document(lost)).state == "ready"
    done = await reconciled(pool)
    assert (done.dry_run, done.found, done.missing, done.pending) == (False, 1, 1, 0)
    assert (await stage.document(lost)).state == "evicted"
    assert await stage.held() == {kept}
    await stage.consistent()


async def test_two_reconciliations_do_not_run_at_once(stage: PoolStage, pool: Any) -> None:
    lease = {"holder": "another", "until": datetime(2100, 1, 1, tzinfo=UTC)}
    await stage.pools.update_one({"_id": "elevenlabs"}, {"$set": {"reconciling": lease}})
    call = pool.ReconcileVoicePool(pb.ReconcileVoicePoolRequest(), **ADMIN)
    assert await refused(call) == ("RECONCILE_UNDER_WAY", 409)


async def test_clones_are_listed_by_pages_and_found_by_id(stage: PoolStage, pool: Any) -> None:
    users = [await stage.given(held=True) for _ in range(3)]
    # A fourth has no place and speaks in a clone of the embedded engine.
    me = signed_in()
    async with open_channel({**stage.environment, "VOICE_PROVIDER": ""}) as channel:
        uploading = voice_at(channel).UploadVoiceFile(upload_of(spoken()), **me)
        embedded = (await uploading).voice_clone_id
    expected = [embedded, *[await clone_of(stage, user_id) for user_id in reversed(users)]]
    for size in (1, 2, 3, 4, 100):
        assert await all_clones(pool, size) == expected
    found = (await pool.GetVoiceClone(pb.GetVoiceCloneRequest(voice_id=embedded), **OPERATOR)).clone
    assert (found.user_id, found.provider, found.voice_source) == (user_of(me), "local", "local_clone")
    assert not found.in_pool
    assert not found.HasField("last_used_at")
    used = await stage.lease(users[0])
    assert used.engine == "elevenlabs"
    asked = pb.GetVoiceCloneRequest(voice_id=await clone_of(stage, users[0]))
    async with asyncio.timeout(10):
        while not (found := (await pool.GetVoiceClone(asked, **OPERATOR)).clone).HasField("last_used_at"):
            pass
    assert (found.voice_source, found.in_pool) == ("provider_voice_id", True)


async def test_a_removed_clone_is_gone_here_and_there_and_the_sample_stays(
    stage: PoolStage, pool: Any
) -> None:
    user_id = await stage.given(held=True)
    voice_id = await clone_of(stage, user_id)
    assert (await pool.DeleteVoiceClone(pb.DeleteVoiceCloneRequest(voice_id=voice_id), **ADMIN)).removed
    assert await stage.held() == set()
    assert (await stage.document(user_id)).sample is not None
    asked = pb.GetVoiceCloneRequest(voice_id=voice_id)
    assert await refused(pool.GetVoiceClone(asked, **OPERATOR)) == ("VOICE_NOT_FOUND", 404)
    await stage.lease(user_id)
    assert await stage.held() == {user_id}


async def test_a_clone_of_the_embedded_engine_can_be_removed_and_not_evicted(
    stage: PoolStage, pool: Any
) -> None:
    me = signed_in()
    async with open_channel({**stage.environment, "VOICE_PROVIDER": ""}) as channel:
        made = await voice_at(channel).UploadVoiceFile(upload_of(spoken()), **me)
    evicting = pb.EvictVoiceRequest(voice_id=made.voice_clone_id)
    assert await refused(pool.EvictVoice(evicting, **ADMIN)) == ("VOICE_NOT_FOUND", 404)
    deleting = pb.DeleteVoiceCloneRequest(voice_id=made.voice_clone_id)
    assert (await pool.DeleteVoiceClone(deleting, **ADMIN)).removed
    voice = await stage.document(user_of(me))
    assert (voice.clone, voice.standby, voice.leftovers) == (None, None, ())
    assert voice.sample is not None
    assert await stage.blobs.get(voice.sample.audio)


@pytest.mark.parametrize("name", ["EvictVoice", "GetVoiceClone", "DeleteVoiceClone"])
async def test_what_is_not_there_is_not_found(pool: Any, name: str) -> None:
    request = {
        "EvictVoice": pb.EvictVoiceRequest,
        "GetVoiceClone": pb.GetVoiceCloneRequest,
        "DeleteVoiceClone": pb.DeleteVoiceCloneRequest,
    }[name]
    for voice_id in (str(uuid4()), "no id at all", "$where"):
        assert await refused(getattr(pool, name)(request(voice_id=voice_id), **ADMIN)) == (
            "VOICE_NOT_FOUND",
            404,
        )


@pytest.mark.parametrize("token", ["x", "0" * 256, "g0000000-0000-0000-0000-000000000000"])
async def test_a_page_token_of_nobody_is_refused(pool: Any, token: str) -> None:
    call = pool.ListVoiceClones(pb.ListVoiceClonesRequest(page_token=token), **OPERATOR)
    assert await refused(call) == ("INVALID_PAGE_TOKEN", 400)


async def test_operators_look_and_only_administrators_change(pool: Any) -> None:
    for who in (signed_in(), OPERATOR):
        assert (await refused(pool.EvictVoice(pb.EvictVoiceRequest(voice_id="x"), **who)))[1] == 403
        assert (await refused(pool.ReconcileVoicePool(pb.ReconcileVoicePoolRequest(), **who)))[1] == 403
    for call in (pool.GetVoicePoolStatus, pool.ListVoiceClones):
        request = (
            pb.GetVoicePoolStatusRequest if call is pool.GetVoicePoolStatus else pb.ListVoiceClonesRequest
        )
        assert (await refused(call(request(), **signed_in())))[1] == 403


async def test_without_a_provider_there_is_no_pool_and_clones_are_listed_and_removed(
    stage: PoolStage,
) -> None:
    async with open_channel({**stage.environment, "VOICE_PROVIDER": ""}) as channel:
        pool: Any = VoicePoolServiceStub(channel)  # type: ignore[no-untyped-call]
        made = await voice_at(channel).UploadVoiceFile(upload_of(spoken()), **signed_in())
        status = await pool.GetVoicePoolStatus(pb.GetVoicePoolStatusRequest(), **OPERATOR)
        assert status == pb.GetVoicePoolStatusResponse()
        assert await all_clones(pool, 5) == [made.voice_clone_id]
        for call, request in (
            (pool.EvictVoice, pb.EvictVoiceRequest(voice_id=made.voice_clone_id)),
            (pool.ReconcileVoicePool, pb.ReconcileVoicePoolRequest()),
        ):
            assert await refused(call(request, **ADMIN)) == ("VOICE_POOL_DISABLED", 409)
        deleting = pb.DeleteVoiceCloneRequest(voice_id=made.voice_clone_id)
        assert (await pool.DeleteVoiceClone(deleting, **ADMIN)).removed
        assert await all_clones(pool, 5) == []
