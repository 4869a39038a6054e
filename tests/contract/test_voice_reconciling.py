"""Each kind of difference between provider, places and documents is put right in one pass."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import stamina
from structlog.testing import capture_logs

from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.voice.domain import Clone
from services.voice.ports import CloneOutcomeUnknown, DiscardOutcomeUnknown
from services.voice.reconciling import Reconciliation
from services.voice.slots import SlotState
from tests.contract.voice_reconciling_stage import (
    ATTEMPT_LASTS,
    SPEECH,
    UNKNOWN,
    Stage,
    attempt_of,
    open_stage,
    sample,
)

LOST_AFTER = [Fault.TIMEOUT_AFTER, Fault.FAILED_AFTER, Fault.DROPPED, Fault.GARBAGE]
LOST_BEFORE = [Fault.TIMEOUT_BEFORE, Fault.FAILED_BEFORE]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Simulator]:
    async with running(Options(latency=0.0, hang_seconds=0.02)) as simulator:
        yield simulator


@pytest.fixture
async def stage(server: Simulator, mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    await server.reset(slots=10, adds=30, requests_per_second=100_000)
    async with open_stage(mongo_url, valkey_url, server, tmp_path) as stage:
        yield stage


@pytest.fixture(autouse=True)
def pauses_between_attempts_take_no_time() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def told(found: int, **more: int) -> Reconciliation:
    return Reconciliation(False, found, **more)


async def test_where_all_agree_nothing_is_done(stage: Stage) -> None:
    voices = [await stage.holding() for _ in range(3)]
    before = (await stage.simulator.audit())["effects"]
    assert await stage.reconcile() == told(3)
    assert (await stage.simulator.audit())["effects"] == before
    assert set((await stage.agree()).values()) == {voice.user_id for voice in voices}


@pytest.mark.parametrize("fault", LOST_AFTER)
async def test_a_voice_whose_add_was_never_answered_is_given_to_its_user(stage: Stage, fault: Fault) -> None:
    claimed = await stage.claimed(await stage.sampled())
    await stage.simulator.ask_for("add", fault)
    with pytest.raises(CloneOutcomeUnknown):
        await stage.added(claimed)
    await stage.stored(claimed, claimed.abandoned(stage.now))
    with capture_logs() as logs:
        assert await stage.reconcile() == told(1, adopted=1)
    assert [line["event"] for line in logs] == ["voice_adopted", "pool_reconciled"]
    assert list((await stage.agree()).values()) == [claimed.user_id]
    voice = await stage.voices.get(claimed.user_id)
    assert voice.clone is not None
    assert voice.clone.clone_id == attempt_of(claimed).attempt_id
    assert (voice.state, voice.clone.in_pool) == ("ready", True)
    stage.now += UNKNOWN
    assert await stage.reconcile() == told(1)
    ledger = await stage.slots.read()
    assert (ledger.adds_spent, ledger.creations) == (1, 1)


@pytest.mark.parametrize("fault", LOST_BEFORE)
async def test_a_place_whose_add_never_took_effect_is_given_back_in_time(stage: Stage, fault: Fault) -> None:
    claimed = await stage.claimed(await stage.sampled())
    await stage.simulator.ask_for("add", fault)
    with pytest.raises(CloneOutcomeUnknown):
        await stage.added(claimed)
    await stage.stored(claimed, claimed.abandoned(stage.now))
    stage.now += UNKNOWN / 2
    assert await stage.reconcile() == told(0, pending=1)
    assert list((await stage.placed()).values()) == ["adding"]
    stage.now += UNKNOWN / 2
    assert await stage.reconcile() == told(0, places_freed=1)
    assert await stage.agree() == {}
    assert (await stage.slots.read()).adds_left == 30


async def test_what_the_overflow_made_instead_keeps_no_place_from_others(stage: Stage) -> None:
    """The embedded engine's clone has the id of the attempt that could not be finished at the provider."""
    claimed = await stage.claimed(await stage.sampled())
    embedded = replace(stage.clone(claimed, "here"), provider="local", engine="tone", in_pool=False)
    await stage.stored(claimed, claimed.regained(embedded, stage.now))
    stage.now += UNKNOWN
    assert await stage.reconcile() == told(0, places_freed=1)
    assert await stage.agree() == {}


async def test_a_voice_of_another_sample_than_the_user_has_by_now_is_removed(stage: Stage) -> None:
    claimed = await stage.claimed(await stage.sampled())
    await stage.added(claimed)
    without = await stage.stored(claimed, claimed.abandoned(stage.now))
    await stage.stored(without, replace(without, revision=without.revision + 1, sample=sample("h2")))
    with capture_logs() as logs:
        assert await stage.reconcile() == told(1, orphans_deleted=1)
    assert "voice_orphan_deleted" in [line["event"] for line in logs]
    assert await stage.agree() == {}


async def test_a_voice_whose_user_is_gone_is_removed(stage: Stage) -> None:
    claimed = await stage.claimed(await stage.sampled())
    await stage.added(claimed)
    erased = await stage.stored(claimed, claimed.erased(stage.now))
    stage.now += ATTEMPT_LASTS
    await stage.stored(erased, erased.cleaned(stage.now))
    assert await stage.reconcile() == told(1, orphans_deleted=1)
    assert await stage.agree() == {}


async def test_a_voice_that_has_no_place_and_no_owner_is_removed(stage: Stage) -> None:
    await stage.provider.clone(SPEECH, "u-nobody", "a-nothing")
    assert await stage.reconcile() == told(1, orphans_deleted=1)
    assert await stage.agree() == {}


async def test_voices_of_others_are_never_touched_and_take_places(stage: Stage) -> None:
    labels = [{}, {"newvisions_user": "u1"}, {"newvisions_attempt": "a1"}, {"accent": "american"}]
    theirs = [await stage.voice_of_another(each) for each in labels]
    assert await stage.reconcile() == told(4)
    audit = await stage.simulator.audit()
    assert [voice["voice_id"] for voice in audit["voices"]] == theirs
    assert audit["requests"].get("delete", 0) == 0
    assert (await stage.slots.read()).capacity == 6


async def test_a_voice_that_somebody_deleted_is_known_to_be_missing(stage: Stage) -> None:
    kept, lost = await stage.holding(), await stage.holding()
    assert lost.clone is not None
    standby = Clone("c-local", "local", "tone", "c-local", "local_clone", False, None, stage.now)
    lost = await stage.stored(lost, lost.standing_by(standby, stage.now))
    assert lost.clone is not None
    await stage.provider.discard(lost.clone.engine_voice_id)
    with capture_logs() as logs:
        assert await stage.reconcile() == told(1, missing=1)
    (event,) = [line for line in logs if line["event"] == "voice_missing_detected"]
    assert event["voice_clone_id"] == lost.clone.clone_id
    assert list((await stage.agree()).values()) == [kept.user_id]
    voice = await stage.voices.get(lost.user_id)
    assert (voice.state, voice.standby, voice.sample) == ("evicted", standby, lost.sample)
    assert voice.fence > lost.fence


async def test_a_voice_that_the_list_does_not_show_yet_is_not_given_up(stage: Stage) -> None:
    voice = await stage.holding()
    assert voice.clone is not None
    stage.provider.not_listed_yet = frozenset({voice.clone.engine_voice_id})
    with capture_logs() as logs:
        assert await stage.reconcile() == told(0, pending=1)
    assert [line["event"] for line in logs] == ["voice_list_lagged", "pool_reconciled"]
    stage.provider.not_listed_yet = frozenset()
    assert await stage.reconcile() == told(1)
    assert list((await stage.agree()).values()) == [voice.user_id]


@pytest.mark.parametrize("fault", [*LOST_AFTER, *LOST_BEFORE])
async def test_a_voice_is_not_given_up_as_long_as_the_provider_does_not_say(
    stage: Stage, fault: Fault
) -> None:
    lost = await stage.holding()
    assert lost.clone is not None
    await stage.provider.discard(lost.clone.engine_voice_id)
    await stage.simulator.ask_for("get", *[fault] * 3)
    assert await stage.reconcile() == told(0, pending=1)
    assert await stage.voices.get(lost.user_id) == lost
    assert await stage.reconcile() == told(0, missing=1)


@pytest.mark.parametrize("fault", [*LOST_AFTER, *LOST_BEFORE])
async def test_a_removal_that_was_never_answered_is_tried_until_it_is(stage: Stage, fault: Fault) -> None:
    voice = await stage.holding()
    await stage.leaving(voice)
    assert voice.clone is not None
    await stage.simulator.ask_for("delete", fault, *[Fault.FAILED_BEFORE] * 2)
    # One whose answer alone was lost is found gone when it is asked for again.
    with suppress(DiscardOutcomeUnknown):
        await stage.provider.discard(voice.clone.engine_voice_id)
    found = len(await stage.there())
    assert await stage.reconcile() == told(found, deletions_retried=1)
    assert await stage.agree() == {}


async def test_an_orphan_that_cannot_be_removed_now_keeps_its_place_until_it_can(stage: Stage) -> None:
    await stage.provider.clone(SPEECH, "u-nobody", "a-nothing")
    await stage.simulator.ask_for("delete", *[Fault.BUSY] * 3)
    assert await stage.reconcile() == told(1, pending=1)
    ledger = await stage.slots.read()
    assert [slot.state for slot in ledger.slots] == [SlotState.LEAVING]
    assert (ledger.orphans, ledger.reconciled_at) == (1, stage.now)
    assert await stage.reconcile() == told(1, deletions_retried=1)
    assert await stage.agree() == {}
    assert (await stage.slots.read()).orphans == 0


async def test_a_voice_without_a_place_gets_one_even_over_capacity(stage: Stage) -> None:
    voice = await stage.holding()
    assert voice.clone is not None
    assert await stage.slots.give_back(voice.clone.clone_id, unspent=False)
    allowance = replace(await stage.provider.allowance(), places=0)
    await stage.slots.refreshed(allowance, 0, None, stage.now)
    assert await stage.reconcile() == told(1, places_restored=1)
    assert list((await stage.agree()).values()) == [voice.user_id]


async def test_a_pool_that_was_lost_altogether_is_found_again_at_the_provider(stage: Stage) -> None:
    voices = [await stage.holding() for _ in range(3)]
    await stage.pools.delete_many({})
    assert await stage.reconcile() == told(3, places_restored=3)
    assert set((await stage.agree()).values()) == {voice.user_id for voice in voices}
    ledger = await stage.slots.read()
    assert (ledger.capacity, ledger.free) == (10, 7)
    assert ledger.adds_spent == (await stage.simulator.audit())["adds_used_this_cycle"]


async def test_a_place_that_missed_the_end_of_its_add_is_held(stage: Stage) -> None:
    claimed = await stage.claimed(await stage.sampled())
    made = await stage.added(claimed)
    await stage.stored(claimed, claimed.regained(stage.clone(claimed, made), stage.now))
    assert await stage.reconcile() == told(1, places_restored=1)
    assert await stage.agree() == {made: claimed.user_id}


async def test_an_add_that_is_under_way_is_left_alone(stage: Stage) -> None:
    claimed, sent = await stage.claimed(await stage.sampled()), await stage.claimed(await stage.sampled())
    stage.now += ATTEMPT_LASTS / 2
    made = await stage.added(sent)
    assert await stage.reconcile() == told(1)
    await stage.held(sent, made)
    await stage.held(claimed, await stage.added(claimed))
    assert len(await stage.agree()) == 2


@pytest.mark.parametrize("wanted", [True, False], ids=["adopted", "removed"])
async def test_who_was_taken_for_dead_cannot_hand_over_the_voice_any_more(stage: Stage, wanted: bool) -> None:
    voice = await stage.sampled(sample_hash="h1" if wanted else "h0")
    claimed = await stage.claimed(voice)
    made = await stage.added(claimed)
    stage.now += ATTEMPT_LASTS
    assert await stage.reconcile() == told(1, adopted=int(wanted), orphans_deleted=int(not wanted))
    late = claimed.regained(stage.clone(claimed, made), stage.now)
    assert not await stage.voices.replace(claimed, late)
    assert await stage.agree() == ({made: voice.user_id} if wanted else {})


async def test_names_are_put_right_where_that_is_wanted(stage: Stage) -> None:
    voice = await stage.holding()
    assert voice.clone is not None
    named = voice.clone.engine_voice_id
    assert await stage.reconcile() == told(1)
    assert await stage.reconcile(rename=True) == told(1, renamed=1)
    assert [held.name for held in await stage.provider.held()] == [named]
    stage.now += UNKNOWN
    assert await stage.reconcile(rename=True) == told(1)
    assert (await stage.slots.read()).adds_spent == (await stage.simulator.audit())["adds_used_this_cycle"]


async def test_no_add_is_taken_from_users_for_a_name_that_cannot_be_paid(stage: Stage) -> None:
    await stage.simulator.reset(slots=10, adds=2, requests_per_second=100_000)
    for _ in range(2):
        await stage.holding()
    assert await stage.reconcile(rename=True) == told(2, pending=2)
    assert (await stage.simulator.audit())["requests"]["edit"] == 1
    assert await stage.reconcile(rename=True) == told(2, pending=2)
    assert (await stage.simulator.audit())["requests"]["edit"] == 1


async def test_a_provider_that_does_not_rename_is_asked_once_in_a_pass(stage: Stage) -> None:
    """Each try is an add in the ledger."""
    for _ in range(3):
        await stage.holding()
    # Adds of the last seconds are counted twice.
    stage.now += UNKNOWN
    spent = (await stage.slots.read()).adds_spent
    await stage.simulator.ask_for("edit", *[Fault.BUSY] * 3)
    assert await stage.reconcile(rename=True) == told(3, pending=3)
    assert (await stage.simulator.audit())["requests"]["edit"] == 1
    assert (await stage.slots.read()).adds_spent == spent + 1


@pytest.mark.parametrize("fault", LOST_AFTER)
async def test_a_rename_whose_answer_was_lost_is_not_paid_twice(stage: Stage, fault: Fault) -> None:
    await stage.holding()
    await stage.simulator.ask_for("edit", fault)
    assert await stage.reconcile(rename=True) == told(1, pending=1)
    stage.now += UNKNOWN
    assert await stage.reconcile(rename=True) == told(1)
    audit = await stage.simulator.audit()
    assert audit["requests"]["edit"] == 1
    assert (await stage.slots.read()).adds_spent == audit["adds_used_this_cycle"] == 2
