"""Who makes room for whom at the provider, and that there is never one voice too many."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from newvisions.voice.v1 import voice_service_pb2 as pb
from services.kernel.statuses import api_error
from tests.integration.voice_pool_stage import PoolStage, open_pool_stage, spoken, upload_of
from tests.integration.voice_stage import failure_of, open_replica, signed_in, user_of


@pytest.fixture(scope="module")
async def opened(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PoolStage]:
    """Three replicas, which refuse when the provider has no place, and admit while there are adds."""
    folder, rules = tmp_path_factory.mktemp("eviction"), {"VOICE_OVERFLOW": "refuse", "VOICE_POLICY": "lru"}
    async with open_pool_stage(mongo_url, valkey_url, folder, 3, **rules) as stage:
        yield stage


@pytest.fixture
async def stage(opened: PoolStage) -> PoolStage:
    await opened.begin()
    return opened


async def refusal_of(stage: PoolStage, user_id: str, replica: int = 0) -> int:
    """How long the user is asked to wait."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.lease(user_id, replica)
    error, retry_after_seconds = api_error(failure.value)
    assert error is not None
    assert (error.error, error.http_status) == ("VOICE_SLOTS_EXHAUSTED", 503)
    return retry_after_seconds


async def test_a_voice_is_removed_before_another_takes_its_place(stage: PoolStage) -> None:
    others = [await stage.given(held=True) for _ in range(3)]
    await stage.lease(others[0])
    await stage.lease(others[1])
    newcomer = await stage.given()
    assert (await stage.lease(newcomer)).voice_source == "provider_voice_id"
    assert await stage.effects() == ["add", "add", "add", "delete", "add"]
    assert (await stage.simulator.audit())["most_voices_at_once"] == 3
    assert await stage.held() == {others[0], others[1], newcomer}
    evicted = await stage.document(others[2])
    assert (evicted.state, evicted.leftovers) == ("evicted", ())
    await stage.consistent()


async def test_an_evicted_voice_is_cloned_again_at_the_next_performance(stage: PoolStage) -> None:
    first, *_ = users = [await stage.given(held=True) for _ in range(3)]
    before = await stage.lease(first)
    await stage.forget_performances(first)
    for user_id in users[1:]:
        await stage.lease(user_id)
    await stage.forget_performances(await stage.given(held=True), *users)
    assert first not in await stage.held()
    again = await stage.lease(first)
    assert (again.voice_source, again.sample_hash) == ("provider_voice_id", before.sample_hash)
    assert again.engine_voice_id != before.engine_voice_id
    assert again.fence > before.fence
    audit = await stage.simulator.audit()
    assert (audit["adds"], audit["deletes"], audit["most_voices_at_once"]) == (5, 2, 3)
    await stage.consistent()


async def test_nobody_is_evicted_while_performing_or_shortly_after(stage: PoolStage) -> None:
    performing = [await stage.given(held=True) for _ in range(3)]
    leases = {user_id: await stage.lease(user_id) for user_id in performing}
    newcomer = await stage.given()
    assert await refusal_of(stage, newcomer) == 60
    # Their performances are over, but they performed a moment ago.
    for user_id in performing:
        await stage.cache.delete(f"voice:pins:{user_id}")
    await refusal_of(stage, newcomer)
    assert await stage.effects() == ["add"] * 3
    for user_id, lease in leases.items():
        assert (await stage.lease(user_id)).engine_voice_id == lease.engine_voice_id


async def test_a_pin_alone_keeps_a_voice(stage: PoolStage) -> None:
    users = [await stage.given(held=True) for _ in range(3)]
    for user_id in users:
        await stage.lease(user_id)
        await stage.cache.delete(f"voice:habit:{user_id}")
    newcomer = await stage.given()
    await refusal_of(stage, newcomer)
    assert await stage.held() == set(users)
    await stage.cache.delete(f"voice:pins:{users[1]}")
    assert (await stage.lease(newcomer)).voice_source == "provider_voice_id"
    assert await stage.held() == {users[0], users[2], newcomer}


async def test_twenty_leases_of_an_evicted_voice_on_three_replicas_make_one_add(stage: PoolStage) -> None:
    user_id = await stage.given()
    leases = await asyncio.gather(*(stage.lease(user_id, number % 3) for number in range(20)))
    assert len({(lease.engine_voice_id, lease.fence) for lease in leases}) == 1
    assert (await stage.simulator.audit())["adds"] == 1
    await stage.consistent()


async def test_a_crowd_on_three_replicas_never_exceeds_places_and_adds(stage: PoolStage) -> None:
    await stage.begin(adds=7)
    users = [await stage.given() for _ in range(12)]

    async def performs(number: int, user_id: str) -> bool:
        try:
            await stage.lease(user_id, number % 3)
        except grpc.aio.AioRpcError as failure:
            assert failure_of(failure).error == "VOICE_SLOTS_EXHAUSTED"
            return False
        await stage.forget_performances(user_id)
        return True

    served = 0
    for _ in range(3):
        served += sum(await asyncio.gather(*(performs(*each) for each in enumerate(users))))
    audit = await stage.simulator.audit()
    assert audit["most_voices_at_once"] <= 3
    assert audit["adds"] <= 7
    assert audit["refusals"] == {}
    assert served >= 3
    await stage.consistent()


async def test_with_no_add_left_who_has_a_voice_keeps_it(stage: PoolStage) -> None:
    await stage.begin(adds=3)
    users = [await stage.given(held=True) for _ in range(3)]
    assert await refusal_of(stage, await stage.given()) == 3600
    assert await stage.effects() == ["add"] * 3
    assert await stage.held() == set(users)


async def test_who_was_given_an_add_waits_for_the_next_when_adds_are_short(stage: PoolStage) -> None:
    await stage.begin(adds=5)
    async with open_replica({**stage.environment, "VOICE_POLICY": "decayed_rate"}) as frugal:
        stage.replicas.append(frugal)
        first, second = await stage.given(), await stage.given()
        lease = await stage.lease(first, -1)
        await stage.lease(second, -1)
        await frugal.ReportMissingVoice(
            pb.ReportMissingVoiceRequest(
                user_id=first, engine_voice_id=lease.engine_voice_id, fence=lease.fence
            )
        )
        assert await refusal_of(stage, first, -1) == 3600
        stage.replicas.remove(frugal)
    assert (await stage.simulator.audit())["adds"] == 2


async def test_a_refused_upload_stores_nothing(stage: PoolStage) -> None:
    for user_id in [await stage.given(held=True) for _ in range(3)]:
        await stage.lease(user_id)
    me = signed_in()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert failure_of(failure.value).error == "VOICE_SLOTS_EXHAUSTED"
    assert await stage.documents.find_one({"_id": user_of(me)}) is None


async def test_a_refused_clone_changes_nothing(stage: PoolStage) -> None:
    for user_id in [await stage.given(held=True) for _ in range(3)]:
        await stage.lease(user_id)
    waiting = await stage.given()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.voice.CloneVoice(pb.CloneVoiceRequest(user_id="me"), **signed_in(waiting))
    assert failure_of(failure.value).error == "VOICE_SLOTS_EXHAUSTED"
    touched = await stage.voice.TouchVoice(pb.TouchVoiceRequest(user_id="me"), **signed_in(waiting))
    assert (touched.status, touched.enabled) == ("waiting", True)
    voice = await stage.document(waiting)
    assert (voice.state, voice.attempt, voice.leftovers) == ("evicted", None, ())
