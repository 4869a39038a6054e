"""What answers when the provider cannot: with no place, with faults of every kind, or when it is away."""

from collections.abc import AsyncIterator
from uuid import uuid4

import grpc
import httpx
import pytest
from prometheus_client import REGISTRY

from dev.ports import free_port
from dev.simulator.faults import Fault
from newvisions.voice.v1 import voice_service_pb2 as pb
from services.voice.slots import SlotState
from tests.integration.voice_pool_stage import PoolStage, open_pool_stage, spoken, until, upload_of
from tests.integration.voice_stage import failure_of, open_replica, signed_in, user_of


@pytest.fixture(scope="module")
async def opened(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PoolStage]:
    async with open_pool_stage(mongo_url, valkey_url, tmp_path_factory.mktemp("overflow")) as stage:
        yield stage


@pytest.fixture
async def stage(opened: PoolStage) -> PoolStage:
    await opened.begin()
    return opened


async def full(stage: PoolStage) -> list[str]:
    users = [await stage.given(held=True) for _ in range(3)]
    for user_id in users:
        await stage.lease(user_id)
    return users


async def test_who_is_given_no_place_is_heard_all_the_same(stage: PoolStage) -> None:
    await full(stage)
    user_id = await stage.given(mp3=spoken())
    first, second = await stage.lease(user_id), await stage.lease(user_id)
    assert (first.engine, first.voice_source) == ("tone", "local_clone")
    assert first.profile.startswith(b"profile of ")
    assert second == first
    assert stage.enrolments.count == 1
    voice = await stage.document(user_id)
    assert (voice.state, voice.sample and voice.sample.hash) == ("evicted", first.sample_hash)
    assert await stage.effects() == ["add"] * 3


async def test_a_voice_that_is_there_and_cannot_speak_is_spoken_for(stage: PoolStage) -> None:
    user_id = await stage.given(mp3=spoken(), held=True)
    performance_id = str(uuid4())
    own = await stage.lease(user_id, performance_id=performance_id)
    other = await stage.lease(user_id, performance_id=performance_id, overflow=True)
    assert (own.voice_source, other.voice_source) == ("provider_voice_id", "local_clone")
    assert other.profile.startswith(b"profile of ")
    assert other.sample_hash == own.sample_hash
    assert (await stage.lease(user_id)).engine_voice_id == own.engine_voice_id
    assert await stage.effects() == ["add"]
    await stage.consistent()


async def test_an_upload_without_a_place_is_a_voice_and_is_promoted_later(stage: PoolStage) -> None:
    others, me = await full(stage), signed_in()
    made = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert made.action == "created"
    meta = await stage.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(user_id="me"), **me)
    assert (meta.state, meta.in_pool, meta.voice_clone_id) == ("ready", False, made.voice_clone_id)
    assert (await stage.lease(user_of(me))).voice_source == "local_clone"
    again = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert (again.action, again.voice_clone_id) == ("unchanged", made.voice_clone_id)
    await stage.forget_performances(*others)
    promoted = await stage.voice.UploadVoiceFile(upload_of(spoken()), **me)
    assert promoted.action == "promoted"
    assert (await stage.lease(user_of(me))).voice_source == "provider_voice_id"
    await stage.consistent()


@pytest.mark.parametrize(
    "fault", [Fault.TIMEOUT_AFTER, Fault.FAILED_AFTER, Fault.DROPPED, Fault.GARBAGE, Fault.SLOW_BODY]
)
async def test_an_add_whose_answer_is_lost_is_found_again(stage: PoolStage, fault: Fault) -> None:
    user_id = await stage.given()
    await stage.simulator.ask_for("add", fault)
    lease = await stage.lease(user_id)
    assert lease.voice_source == "provider_voice_id"
    assert (await stage.simulator.audit())["adds"] == 1
    await stage.consistent()


@pytest.mark.parametrize("fault", [Fault.TIMEOUT_BEFORE, Fault.FAILED_BEFORE])
async def test_an_add_that_may_yet_take_effect_is_not_repeated(stage: PoolStage, fault: Fault) -> None:
    user_id = await stage.given(mp3=spoken())
    await stage.simulator.ask_for("add", fault)
    for _ in range(2):
        assert (await stage.lease(user_id)).voice_source == "local_clone"
    assert (await stage.simulator.audit())["requests"]["add"] == 1
    (slot,) = (await stage.slots()).values()
    assert slot["state"] == SlotState.ADDING
    assert (await stage.document(user_id)).attempt is None


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CONCURRENT])
async def test_an_add_that_was_refused_costs_nothing(stage: PoolStage, fault: Fault) -> None:
    user_id = await stage.given(mp3=spoken())
    await stage.simulator.ask_for("add", fault)
    assert (await stage.lease(user_id)).voice_source == "local_clone"
    assert await stage.slots() == {}
    assert (await stage.pools.find_one({"_id": "elevenlabs"}))["adds_spent"] == 0
    assert (await stage.lease(user_id)).voice_source == "provider_voice_id"
    voice = await stage.document(user_id)
    assert voice.standby is not None
    await stage.consistent()


@pytest.mark.parametrize("fault", [Fault.TIMEOUT_AFTER, Fault.FAILED_BEFORE, Fault.DROPPED, Fault.BUSY])
async def test_a_removal_that_fails_once_is_asked_for_again(stage: PoolStage, fault: Fault) -> None:
    for _ in range(3):
        await stage.given(held=True)
    await stage.simulator.ask_for("delete", fault)
    assert (await stage.lease(await stage.given())).voice_source == "provider_voice_id"
    assert (await stage.simulator.audit())["most_voices_at_once"] == 3
    await stage.consistent()


async def test_a_removal_that_is_refused_leaves_the_voice_to_its_user(stage: PoolStage) -> None:
    users = [await stage.given(held=True) for _ in range(3)]
    await stage.simulator.ask_for("delete", *[Fault.BUSY] * 3)
    assert (await stage.lease(await stage.given(mp3=spoken()))).voice_source == "local_clone"
    assert await stage.held() == set(users)
    await stage.consistent()
    for user_id in users:
        assert (await stage.lease(user_id)).voice_source == "provider_voice_id"


async def test_a_removal_of_unknown_outcome_keeps_the_place_taken(stage: PoolStage) -> None:
    for _ in range(3):
        await stage.given(held=True)
    await stage.simulator.ask_for("delete", *[Fault.FAILED_BEFORE] * 3)
    assert (await stage.lease(await stage.given(mp3=spoken()))).voice_source == "local_clone"
    assert sorted(slot["state"] for slot in (await stage.slots()).values()) == ["held", "held", "leaving"]
    assert await stage.effects() == ["add"] * 3


async def test_places_that_others_fill_are_not_ours(stage: PoolStage) -> None:
    """Somebody makes two voices in the same account by hand."""
    async with httpx.AsyncClient(base_url=stage.simulator.url, headers={"xi-api-key": "any"}) as http:
        for name in ("Narrator", "Announcer"):
            files = {"files": ("narrator.mp3", b"a recording", "audio/mpeg")}
            (await http.post("/v1/voices/add", data={"name": name}, files=files)).raise_for_status()
    users = [await stage.given(held=True) for _ in range(2)]
    assert (await stage.pools.find_one({"_id": "elevenlabs"}))["capacity"] == 1
    audit = await stage.simulator.audit()
    assert (audit["voices_now"], audit["refusals"], audit["deletes"]) == (3, {}, 1)
    assert (await stage.document(users[0])).state == "evicted"


async def test_a_place_that_was_filled_meanwhile_costs_nothing(stage: PoolStage) -> None:
    """The ledger believes in a place that is no longer there."""
    first = await stage.given(held=True)
    held = await stage.document(first)
    await stage.simulator.reset(slots=0)
    assert (await stage.lease(await stage.given(mp3=spoken()))).voice_source == "local_clone"
    assert held.clone is not None
    assert set(await stage.slots()) == {held.clone.clone_id}
    assert (await stage.pools.find_one({"_id": "elevenlabs"}))["capacity"] == 0


async def test_with_the_cache_away_voices_that_are_there_are_spoken_in(stage: PoolStage) -> None:
    there, waiting = await stage.given(held=True), await stage.given(mp3=spoken())
    nowhere = {**stage.environment, "VOICE_VALKEY_URL": f"redis://127.0.0.1:{free_port()}/0"}
    async with open_replica(nowhere) as voice:
        stage.replicas.append(voice)
        try:
            assert (await stage.lease(there, -1)).voice_source == "provider_voice_id"
            assert (await stage.lease(waiting, -1)).voice_source == "local_clone"
        finally:
            stage.replicas.remove(voice)
    assert await stage.effects() == ["add"]
    assert (await stage.lease(waiting)).voice_source == "provider_voice_id"


async def test_with_the_provider_away_the_overflow_answers(stage: PoolStage) -> None:
    there, waiting = await stage.given(held=True), await stage.given(mp3=spoken())
    nowhere = {**stage.environment, "VOICE_ELEVENLABS_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    async with open_replica(nowhere) as voice:
        stage.replicas.append(voice)
        try:
            assert (await stage.lease(there, -1)).voice_source == "provider_voice_id"
            assert (await stage.lease(waiting, -1)).voice_source == "local_clone"
        finally:
            stage.replicas.remove(voice)
    assert len(await stage.slots()) == 1


async def test_a_standby_is_prepared_for_who_is_given_no_place(stage: PoolStage) -> None:
    await full(stage)
    user_id = await stage.given(mp3=spoken())
    request = pb.TouchVoiceRequest(user_id="me")
    assert (await stage.voice.TouchVoice(request, **signed_in(user_id))).status == "waiting"

    async def prepared() -> bool:
        return (await stage.document(user_id)).standby is not None

    await until(prepared)
    assert (await stage.lease(user_id)).voice_source == "local_clone"
    assert stage.enrolments.count == 1


async def test_a_clone_that_takes_too_long_is_there_for_the_next_performance(stage: PoolStage) -> None:
    """An add takes about a second, which is more than this lease waits."""
    await stage.begin(latency=0.4)
    user_id = await stage.given(mp3=spoken())
    async with open_replica({**stage.environment, "VOICE_LEASE_CLONE_SECONDS": "0.1"}) as hurried:
        stage.replicas.append(hurried)
        first = await stage.lease(user_id, -1)
        stage.replicas.remove(hurried)
        assert (first.voice_source, first.profile[:10]) == ("local_clone", b"profile of")

        async def cloned() -> bool:
            return (await stage.document(user_id)).clone is not None

        await until(cloned)
    assert (await stage.lease(user_id)).voice_source == "provider_voice_id"
    assert (await stage.simulator.audit())["adds"] == 1


async def test_who_does_not_wait_is_told_that_the_voice_is_being_made_and_comes_back_for_it(
    stage: PoolStage,
) -> None:
    """An add takes about a second, and nobody waits for it twice."""
    await stage.begin(latency=0.4)
    user_id, performance = await stage.given(), str(uuid4())
    first = await stage.lease(user_id, performance_id=performance, waits=False)
    assert first == pb.LeaseVoiceResponse(pending=True)
    assert (await stage.document(user_id)).clone is None
    second = await stage.lease(user_id, performance_id=performance)
    assert (second.voice_source, second.pending) == ("provider_voice_id", False)
    assert await stage.lease(user_id, performance_id=performance, waits=False) == second
    assert await stage.effects() == ["add"]


async def test_a_voice_that_is_being_made_is_held_for_its_performance(stage: PoolStage) -> None:
    user_id, performance = await stage.given(), str(uuid4())
    request = pb.ReleaseVoiceRequest(user_id=user_id, performance_id=performance)
    assert (await stage.lease(user_id, performance_id=performance, waits=False)).pending
    assert await stage.cache.zcard(f"voice:pins:{user_id}") == 1
    await stage.voice.ReleaseVoice(request)
    assert await stage.cache.zcard(f"voice:pins:{user_id}") == 0


async def test_without_a_sample_nobody_is_told_to_come_back(stage: PoolStage) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.lease(f"user-{uuid4()}", waits=False)
    assert failure_of(failure.value).error == "VOICE_CLONE_REQUIRED"


async def test_who_is_given_no_place_waits_once_for_the_overflow_and_never_again(stage: PoolStage) -> None:
    await full(stage)
    user_id, performance = await stage.given(mp3=spoken()), str(uuid4())
    assert (await stage.lease(user_id, performance_id=performance, waits=False)).pending
    assert (await stage.lease(user_id, performance_id=performance)).voice_source == "local_clone"
    assert (await stage.lease(user_id, waits=False)).voice_source == "local_clone"
    assert stage.enrolments.count == 1


@pytest.mark.parametrize(("waits", "overflow"), [(False, False), (True, True)])
async def test_where_the_overflow_refuses_nobody_is_told_to_come_back(
    stage: PoolStage, waits: bool, overflow: bool
) -> None:
    await full(stage)
    user_id = await stage.given()
    async with open_replica({**stage.environment, "VOICE_OVERFLOW": "refuse"}) as strict:
        stage.replicas.append(strict)
        try:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await stage.lease(user_id, -1, waits=waits, overflow=overflow)
        finally:
            stage.replicas.remove(strict)
    assert failure_of(failure.value).error == "VOICE_SLOTS_EXHAUSTED"


async def test_failures_of_the_provider_and_the_time_of_clones_are_counted(stage: PoolStage) -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"provider": "elevenlabs", **labels}) or 0.0

    failed, made = "voice_provider_errors_total", "voice_clone_seconds_count"
    before = counted(failed, **{"class": "ProviderBusy"}), counted(made)
    user_id = await stage.given(mp3=spoken())
    await stage.simulator.ask_for("add", Fault.BUSY)
    for _ in range(2):
        await stage.lease(user_id)
    after = counted(failed, **{"class": "ProviderBusy"}), counted(made)
    assert after == (before[0] + 1, before[1] + 2)


async def test_each_request_to_the_provider_is_timed_by_what_came_of_it(stage: PoolStage) -> None:
    def counted(outcome: str) -> float:
        labels = {"provider": "elevenlabs", "call": "clone", "class": outcome}
        return REGISTRY.get_sample_value("voice_provider_seconds_count", labels) or 0.0

    before = counted("ProviderBusy"), counted("ok")
    user_id = await stage.given(mp3=spoken())
    await stage.simulator.ask_for("add", Fault.BUSY)
    for _ in range(2):
        await stage.lease(user_id)
    assert (counted("ProviderBusy"), counted("ok")) == (before[0] + 1, before[1] + 1)
