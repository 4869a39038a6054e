"""What the places of a provider promise, on a real database: one change at a time, each safe to repeat."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from services.kernel.database import database_client
from services.voice.domain import VoiceStoreUnavailable
from services.voice.mongo_slots import MongoSlots
from services.voice.slots import Ledger, Slot, SlotState
from tests.contract.voice_pools import NOW, Pools, figures, pools_at, sold, wanted

LATER = NOW + timedelta(minutes=5)


@pytest.fixture(scope="module")
async def pools(mongo_url: str) -> AsyncIterator[Pools]:
    async with pools_at(mongo_url) as opened:
        yield opened


@pytest.fixture
async def slots(pools: Pools) -> MongoSlots:
    return (await pools.open(places=2, adds=9, spent=4))[0]


async def taken(slots: MongoSlots) -> Slot:
    slot = wanted()
    assert await slots.take(slot)
    return slot


async def test_nothing_is_taken_before_the_provider_was_asked(mongo_url: str) -> None:
    async with database_client(mongo_url, connections=2, seconds=10) as client:
        slots = MongoSlots(client[f"voice_{uuid4().hex[:12]}"]["pools"], "someone")
        assert await slots.read() == Ledger()
        assert not await slots.take(wanted())
        for _ in range(2):
            await slots.prepare()
        held = replace(wanted(), state=SlotState.HELD)
        await slots.restore(held)
        assert not await slots.take(wanted())
        assert not await slots.take_over(held.attempt_id, wanted())
        assert await slots.read() == Ledger(slots=(held,))
        await slots.refreshed(sold(places=2), 0, None, NOW)
        assert await slots.take(wanted())
        assert not await slots.take(wanted())


@pytest.mark.parametrize(("adds", "most"), [(None, 30), (12, 12), (30, 30), (0, 0)])
async def test_fifty_at_once_take_what_there_is_and_no_more(
    pools: Pools, adds: int | None, most: int
) -> None:
    pool = await pools.open(places=30, adds=adds)
    won = await asyncio.gather(*(pool[number % 3].take(wanted()) for number in range(50)))
    ledger = await pool[0].read()
    assert won.count(True) == most
    assert figures(ledger) == (most, most)


async def test_one_attempt_takes_one_place_however_often_it_asks(pools: Pools) -> None:
    pool, slot = await pools.open(), wanted()
    assert all(await asyncio.gather(*(pool[number % 3].take(slot) for number in range(20))))
    assert figures(await pool[0].read()) == (1, 1)


@pytest.mark.parametrize("attempt_id", ["plain", "a.b.c", "$set", "%2E", "ä ö/ü", "slots.a.state", "0"])
async def test_a_slot_comes_back_as_it_was_taken_whatever_it_is_called(
    slots: MongoSlots, attempt_id: str
) -> None:
    slot = wanted(attempt_id, user_id="$users.of.all.kinds")
    assert await slots.take(slot)
    assert (await slots.read()).slots == (slot,)
    assert await slots.change(attempt_id, SlotState.HELD, LATER, "v.1")
    held = replace(slot, state=SlotState.HELD, since=LATER, engine_voice_id="v.1")
    assert (await slots.read()).slots == (held,)
    assert await slots.give_back(attempt_id, unspent=False)
    assert (await slots.read()).slots == ()


async def test_a_place_changes_hands(slots: MongoSlots) -> None:
    (one, two), three = (await taken(slots), await taken(slots)), wanted()
    assert not await slots.take(three)
    for _ in range(2):
        assert await slots.take_over(one.attempt_id, three)
        assert figures(await slots.read()) == (2, 4 + 3)
    assert {slot.attempt_id for slot in (await slots.read()).slots} == {two.attempt_id, three.attempt_id}
    assert not await slots.take_over(one.attempt_id, wanted())


async def test_of_many_who_want_the_same_place_one_gets_it(pools: Pools) -> None:
    pool = await pools.open(places=1)
    slot = await taken(pool[0])
    won = await asyncio.gather(
        *(pool[number % 3].take_over(slot.attempt_id, wanted()) for number in range(20))
    )
    assert won.count(True) == 1
    assert figures(await pool[0].read()) == (1, 2)


async def test_a_place_does_not_change_hands_without_an_add(pools: Pools) -> None:
    slots = (await pools.open(places=2, adds=1))[0]
    slot = await taken(slots)
    assert not await slots.take_over(slot.attempt_id, wanted())
    assert (await slots.read()).slots == (slot,)


async def test_a_pool_that_is_too_large_shrinks(slots: MongoSlots) -> None:
    one, _ = await taken(slots), await taken(slots)
    await slots.refreshed(sold(places=1, adds=9, spent=6), 0, None, LATER)
    assert not await slots.take_over(one.attempt_id, wanted())
    assert await slots.give_back(one.attempt_id, unspent=False)
    assert not await slots.take(wanted())
    assert (await slots.read()).free == 0


async def test_what_is_restored_takes_a_place_over_capacity_and_spends_nothing(slots: MongoSlots) -> None:
    found = [replace(wanted(), state=SlotState.HELD, engine_voice_id=f"v{number}") for number in range(3)]
    for slot in (*found, *found):
        await slots.restore(slot)
    ledger = await slots.read()
    assert set(ledger.slots) == set(found)
    assert (ledger.free, ledger.adds_spent, ledger.creations) == (0, 4, 0)
    # A repeated restore does not take back what happened since.
    assert await slots.change(found[0].attempt_id, SlotState.LEAVING, LATER, "")
    await slots.restore(found[0])
    leaving = replace(found[0], state=SlotState.LEAVING, since=LATER)
    assert (await slots.read()).of(leaving.attempt_id) == leaving
    assert await slots.give_back(leaving.attempt_id, unspent=False)
    assert not await slots.take(wanted())
    assert await slots.give_back(found[1].attempt_id, unspent=False)
    assert await slots.take(wanted())


async def test_states_are_counted_once(slots: MongoSlots) -> None:
    slot = await taken(slots)
    for _ in range(2):
        assert await slots.change(slot.attempt_id, SlotState.HELD, NOW, "v1")
    for since in (LATER, LATER + timedelta(hours=1)):
        assert await slots.change(slot.attempt_id, SlotState.LEAVING, since, "")
    ledger = await slots.read()
    assert (ledger.creations, ledger.evictions) == (1, 1)
    assert ledger.slots == (replace(slot, state=SlotState.LEAVING, since=LATER, engine_voice_id="v1"),)
    assert not await slots.change("nobody", SlotState.HELD, NOW, "v2")
    # A voice that nobody wants any more when it is made was made, but never held.
    short = await taken(slots)
    assert await slots.change(short.attempt_id, SlotState.LEAVING, NOW, "v2")
    # And of an attempt that is given up nobody knows whether it made one.
    assert await slots.give_back(short.attempt_id, unspent=False)
    given_up = await taken(slots)
    assert await slots.change(given_up.attempt_id, SlotState.LEAVING, NOW, "")
    ledger = await slots.read()
    assert (ledger.creations, ledger.evictions) == (2, 1)


async def test_of_many_who_evict_one_is_counted(pools: Pools) -> None:
    pool = await pools.open()
    slot = await taken(pool[0])
    for state in (SlotState.HELD, SlotState.LEAVING):
        changes = (pool[number % 3].change(slot.attempt_id, state, NOW, "v1") for number in range(12))
        assert all(await asyncio.gather(*changes))
    ledger = await pool[0].read()
    assert (ledger.creations, ledger.evictions) == (1, 1)


@pytest.mark.parametrize(("unspent", "spent"), [(True, 4), (False, 5)])
async def test_a_place_is_given_back_once(pools: Pools, unspent: bool, spent: int) -> None:
    pool = await pools.open(places=1, adds=9, spent=4)
    slot = await taken(pool[0])
    gave = await asyncio.gather(
        *(pool[number % 3].give_back(slot.attempt_id, unspent=unspent) for number in range(12))
    )
    assert gave.count(True) == 1
    assert figures(await pool[0].read()) == (0, spent)
    assert await pool[1].take(wanted())
    assert not await pool[2].take(wanted())


async def test_adds_spent_never_fall_below_none(pools: Pools) -> None:
    slots = (await pools.open(places=2, adds=1))[0]
    for _ in range(2):
        slot = replace(wanted(), state=SlotState.HELD)
        await slots.restore(slot)
        assert await slots.give_back(slot.attempt_id, unspent=True)
    assert figures(await slots.read()) == (0, 0)
    assert await slots.take(wanted())
    assert not await slots.take(wanted())


async def test_one_reconciles_at_a_time(pools: Pools) -> None:
    pool, soon = await pools.open(), NOW + timedelta(minutes=1)
    runs = [f"run-{number}" for number in range(12)]
    begun = await asyncio.gather(
        *(pool[number % 3].begin_reconcile(run, soon, NOW) for number, run in enumerate(runs))
    )
    assert begun.count(True) == 1
    holder, other = runs[begun.index(True)], "another"
    assert await pool[0].begin_reconcile(holder, soon, NOW)
    assert not await pool[0].begin_reconcile(other, LATER, soon - timedelta(seconds=1))
    # Whoever is late has lost it, and keeps nothing.
    assert await pool[1].begin_reconcile(other, LATER, soon)
    await pool[0].end_reconcile(holder, LATER, orphans=7, whole=True)
    assert (await pool[0].read()).reconciled_at is None
    assert not await pool[0].begin_reconcile(holder, LATER, soon)
    for _ in range(2):
        await pool[1].end_reconcile(other, LATER, orphans=2, whole=True)
    assert await pool[0].begin_reconcile(holder, LATER, soon)
    # A dry run tells nothing about what is left.
    await pool[0].end_reconcile(holder, LATER + timedelta(hours=1), orphans=9, whole=False)
    ledger = await pool[0].read()
    assert (ledger.reconciled_at, ledger.orphans) == (LATER, 2)
    assert await pool[2].begin_reconcile(other, LATER, soon)


async def test_a_pool_that_is_away_is_said_to_be_unavailable() -> None:
    async with database_client("mongodb://127.0.0.1:9/", connections=1, seconds=0.2) as client:
        away = MongoSlots(client["voice"]["pools"], "someone")
        for call in (
            away.prepare(),
            away.read(),
            away.take(wanted()),
            away.change("a", SlotState.HELD, NOW, ""),
        ):
            with pytest.raises(VoiceStoreUnavailable):
                await call


async def test_an_installation_has_one_id_however_many_ask_at_once(slots: MongoSlots) -> None:
    ids = await asyncio.gather(*(slots.installation() for _ in range(20)))
    assert len(set(ids)) == 1
    assert len(ids[0]) == 32
