"""What others do while the pool is reconciled, and what becomes of a pass that cannot be finished."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina
from redis.asyncio import Redis
from structlog.testing import capture_logs

from dev.ports import free_port
from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.kernel.cache import cache_client
from services.kernel.server import running as in_the_background
from services.voice import valkey
from services.voice.domain import PinsUnavailable, ReconcileUnderWay
from services.voice.policy import Rules
from services.voice.ports import ProviderUnavailable
from services.voice.reconciling import Reconciliation, reconcile_forever
from services.voice.slots import SlotState
from tests.contract.voice_reconciling_stage import SPEECH, UNKNOWN, Stage, nothing, open_stage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Simulator]:
    async with running(Options(latency=0.0, hang_seconds=0.02)) as simulator:
        yield simulator


@pytest.fixture
async def stage(server: Simulator, mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    await server.reset(slots=200, adds=400, requests_per_second=100_000)
    async with open_stage(mongo_url, valkey_url, server, tmp_path) as stage:
        yield stage


@pytest.fixture(autouse=True)
def pauses_between_attempts_take_no_time() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


async def a_bit_of_everything(stage: Stage) -> None:
    """One of each difference."""
    await stage.holding()
    await stage.added(await stage.claimed(await stage.sampled()))
    await stage.claimed(await stage.sampled())
    await stage.provider.clone(SPEECH, "u-nobody", "a-nothing")
    lost = await stage.holding()
    assert lost.clone is not None
    await stage.provider.discard(lost.clone.engine_voice_id)
    await stage.leaving(await stage.holding())
    unplaced = await stage.holding()
    assert unplaced.clone is not None
    assert await stage.slots.give_back(unplaced.clone.clone_id, unspent=False)
    await stage.voice_of_another({})
    stage.now += UNKNOWN


ALL = {
    "found": 6,
    "adopted": 1,
    "orphans_deleted": 1,
    "missing": 1,
    "places_freed": 1,
    "places_restored": 1,
    "deletions_retried": 1,
}


async def everything(stage: Stage) -> Any:
    """All that is stored anywhere, but for the lease itself."""
    ledger, audit = await stage.slots.read(), await stage.simulator.audit()
    users = sorted((await stage.named()).values())
    documents = [await stage.voices.get(user_id) for user_id in users]
    due = await stage.voices.due(stage.now + timedelta(days=1), 100)
    return ledger, audit["effects"], documents, sorted(due, key=lambda voice: voice.user_id)


async def test_a_dry_run_tells_all_and_changes_nothing(stage: Stage) -> None:
    await a_bit_of_everything(stage)
    before = await everything(stage)
    dry = await stage.reconciling().reconcile(dry_run=True)
    assert dry == Reconciliation(True, **ALL)
    assert await everything(stage) == before
    assert await stage.reconcile() == replace(dry, dry_run=False)
    assert len(await stage.agree()) == 3
    assert (await stage.slots.read()).reconciled_at == stage.now
    assert await stage.reconcile() == Reconciliation(False, 4)


async def test_two_at_once_are_one(stage: Stage) -> None:
    await a_bit_of_everything(stage)
    refused = []

    async def another() -> None:
        try:
            await stage.reconcile()
        except ReconcileUnderWay as error:
            refused.append(error.reason)

    stage.provider.after_list = another
    assert await stage.reconcile() == Reconciliation(False, **ALL)
    assert refused == ["RECONCILE_UNDER_WAY"]
    assert len(await stage.agree()) == 3


async def test_many_at_once_come_to_the_same_end(stage: Stage) -> None:
    await a_bit_of_everything(stage)
    found = await asyncio.gather(*(stage.reconcile() for _ in range(5)), return_exceptions=True)
    passes = [each for each in found if isinstance(each, Reconciliation)]
    assert {type(each) for each in found} <= {Reconciliation, ReconcileUnderWay}
    assert sum(each.orphans_deleted for each in passes) == 1
    assert len(await stage.agree()) == 3


@pytest.mark.parametrize("page", [1, 2])
async def test_a_list_that_breaks_off_changes_nothing(stage: Stage, page: int) -> None:
    await a_bit_of_everything(stage)
    if page == 2:
        for number in range(101):
            await stage.provider.clone(SPEECH, "u-nobody", f"a-{number}")
        await stage.simulator.ask_for("list", Fault.SLOW_BODY)
    before = await everything(stage)
    await stage.simulator.ask_for("list", *[Fault.FAILED_BEFORE] * 3)
    with pytest.raises(ProviderUnavailable):
        await stage.reconcile()
    assert await everything(stage) == before
    # Nor does it keep others from trying.
    assert (await stage.reconcile()).pending == 0


async def test_who_is_too_slow_stops_when_another_has_begun(stage: Stage) -> None:
    await a_bit_of_everything(stage)

    async def another_comes_much_later() -> None:
        stage.provider.after_list = nothing
        stage.now += timedelta(minutes=1)
        assert (await stage.reconcile()).orphans_deleted == 1

    stage.provider.after_list = another_comes_much_later
    before = (await stage.simulator.audit())["deletes"]
    await stage.reconcile()
    assert (await stage.simulator.audit())["deletes"] == before + 2
    assert len(await stage.agree()) == 3


async def test_who_finds_another_at_it_leaves_the_rest_to_them(stage: Stage) -> None:
    for number in range(3):
        await stage.provider.clone(SPEECH, "u-nobody", f"a-{number}")

    async def another_takes_over() -> None:
        stage.now += timedelta(minutes=1)
        assert await stage.slots.begin_reconcile("another", stage.now + timedelta(minutes=1), stage.now)

    stage.provider.before_discard = another_takes_over
    with pytest.raises(ReconcileUnderWay):
        await stage.reconcile()
    assert len(await stage.there()) == 2
    assert (await stage.slots.read()).reconciled_at is None


async def test_a_pass_that_takes_too_long_leaves_the_rest_to_the_next(stage: Stage) -> None:
    for number in range(4):
        await stage.provider.clone(SPEECH, "u-nobody", f"a-{number}")

    async def takes_long() -> None:
        stage.now += timedelta(seconds=50)

    stage.provider.before_discard = takes_long
    assert await stage.reconcile() == Reconciliation(False, 4, orphans_deleted=2, pending=2)
    assert (await stage.slots.read()).reconciled_at is None
    assert await stage.reconcile() == Reconciliation(False, 2, orphans_deleted=2)
    assert await stage.agree() == {}


async def test_what_is_made_while_the_list_is_read_is_not_missing(stage: Stage) -> None:
    claimed = await stage.claimed(await stage.sampled())

    async def made() -> None:
        await stage.held(claimed, await stage.added(claimed))

    stage.provider.after_list = made
    assert await stage.reconcile() == Reconciliation(False, 0)
    assert list((await stage.agree()).values()) == [claimed.user_id]


async def test_what_is_handed_over_while_the_list_is_read_is_no_orphan(stage: Stage) -> None:
    claimed = await stage.claimed(await stage.sampled())
    made = await stage.added(claimed)

    async def handed_over() -> None:
        await stage.held(claimed, made)

    stage.provider.after_list = handed_over
    assert await stage.reconcile() == Reconciliation(False, 1)
    assert await stage.agree() == {made: claimed.user_id}


@pytest.mark.parametrize("finished", [False, True], ids=["under way", "done"])
async def test_what_is_begun_and_made_just_before_the_list_is_no_orphan(stage: Stage, finished: bool) -> None:
    made = {}

    async def begun() -> None:
        claimed = await stage.claimed(await stage.sampled())
        made[await stage.added(claimed)] = claimed

    async def ended() -> None:
        for engine_voice_id, claimed in made.items():
            await stage.held(claimed, engine_voice_id)

    stage.provider.before_list = begun
    if finished:
        stage.provider.after_list = ended
    assert await stage.reconcile() == Reconciliation(False, 1)
    if not finished:
        await ended()
    assert (await stage.agree()).keys() == made.keys()


async def test_who_takes_a_removal_back_is_too_late_once_it_is_retried(stage: Stage) -> None:
    """An evictor that the provider refused gives the voice back to its user, unless somebody went on."""
    voice = await stage.holding()
    left = await stage.leaving(voice)
    clone = voice.clone
    assert clone is not None

    async def taken_back() -> None:
        assert not await stage.voices.replace(left, left.reinstated(clone, stage.now))

    stage.provider.before_discard = taken_back
    assert (await stage.reconcile()).deletions_retried == 1
    assert await stage.agree() == {}


async def test_a_removal_that_was_taken_back_in_time_is_left_alone(stage: Stage) -> None:
    voice = await stage.holding()
    left = await stage.leaving(voice)
    clone = voice.clone
    assert clone is not None

    async def taken_back() -> None:
        await stage.stored(left, left.reinstated(clone, stage.now))
        held = SlotState.HELD
        assert await stage.slots.change(clone.clone_id, held, stage.now, clone.engine_voice_id)

    stage.provider.after_list = taken_back
    assert (await stage.reconcile()).deletions_retried == 0
    assert await stage.agree() == {clone.engine_voice_id: voice.user_id}


async def test_a_place_that_was_handed_on_meanwhile_is_not_given_back(stage: Stage) -> None:
    leaving = await stage.leaving(await stage.holding())
    (left,) = leaving.leftovers
    other = await stage.claimed(await stage.sampled())

    async def handed_on() -> None:
        (place,) = [slot for slot in (await stage.slots.read()).slots if slot.user_id == other.user_id]
        await stage.slots.give_back(place.attempt_id, unspent=True)
        await stage.provider.provider.discard(left.engine_voice_id)
        assert await stage.slots.take_over(left.attempt_id, place)

    async def not_asked_again() -> None:
        pytest.fail("who is gone takes a place once more")

    stage.provider.after_list = handed_on
    stage.provider.before_discard = not_asked_again
    await stage.reconcile()
    assert list((await stage.placed()).values()) == ["adding"]


async def test_the_index_is_rebuilt_from_nothing(stage: Stage, valkey_url: str) -> None:
    voices = [await stage.holding() for _ in range(3)]
    async with Redis.from_url(valkey_url) as cache:
        await cache.flushdb()
    await stage.habits.entered("u-long-gone", 1.0)
    await stage.reconcile()
    standing = await stage.habits.touched(voices[1].user_id, stage.now.timestamp())
    assert (standing.position, standing.size) == (0, 3)


async def test_without_the_index_all_else_is_put_right(stage: Stage) -> None:
    await a_bit_of_everything(stage)
    async with cache_client(f"redis://127.0.0.1:{free_port()}", seconds=0.2) as nobody:
        stage.habits = valkey.ValkeyHabits(nobody, Rules())
        with pytest.raises(PinsUnavailable):
            await stage.habits.reuse()
        assert await stage.reconcile() == Reconciliation(False, **ALL)
    assert len(await stage.agree()) == 3


async def test_it_comes_round_at_the_start_and_then_once_for_all_replicas(stage: Stage) -> None:
    every = timedelta(minutes=10)
    assert await stage.reconciling().until_due(every) == timedelta(0)
    seconds = every.total_seconds()
    one, other = (reconcile_forever(stage.reconciling(), seconds) for _ in range(2))
    async with asyncio.timeout(20), in_the_background(one), in_the_background(other):
        while (await stage.slots.read()).reconciled_at is None:
            pass
    assert await stage.reconciling().until_due(every) == every
    stage.now += timedelta(minutes=4)
    assert await stage.reconciling().until_due(every) == timedelta(minutes=6)


async def test_a_provider_that_is_away_does_not_end_the_rounds(stage: Stage) -> None:
    await stage.provider.clone(SPEECH, "u-nobody", "a-nothing")
    await stage.simulator.ask_for("list", *[Fault.FAILED_BEFORE] * 3)
    with capture_logs() as logs:
        async with asyncio.timeout(20), in_the_background(reconcile_forever(stage.reconciling(), 0.1)):
            while await stage.there():
                pass
    assert "round_failed" in [line["event"] for line in logs]
