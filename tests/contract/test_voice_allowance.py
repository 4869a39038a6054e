"""What is counted of a provider's places and adds, whatever happens at once, and whatever answer is lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from services.kernel.database import database_client
from services.voice.domain import VoiceStoreUnavailable
from services.voice.mongo_slots import MongoSlots
from services.voice.slots import Slot, SlotState
from tests.contract.voice_pools import CYCLE, NOW, Pool, Pools, figures, pools_at, sold, wanted

pytestmark = pytest.mark.slow

# Long enough that the provider's count knows of every add before.
LATER = NOW + timedelta(minutes=5)


@pytest.fixture(scope="module")
async def pools(mongo_url: str) -> AsyncIterator[Pools]:
    async with pools_at(mongo_url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("places", "foreign", "ceiling", "capacity"),
    [(30, 0, None, 30), (30, 4, None, 26), (30, 4, 20, 20), (3, 5, None, 0), (30, 0, 0, 0)],
)
async def test_capacity_is_what_others_and_the_operator_leave(
    pools: Pools, places: int, foreign: int, ceiling: int | None, capacity: int
) -> None:
    slots = (await pools.open())[0]
    for _ in range(2):
        await slots.refreshed(sold(places), foreign, ceiling, LATER)
    ledger = await slots.read()
    assert (ledger.capacity, ledger.free, ledger.refreshed_at) == (capacity, capacity, LATER)
    assert await slots.take(wanted()) is bool(capacity)


async def test_an_add_is_counted_whether_the_provider_counted_it_before_or_after(pools: Pools) -> None:
    slots = (await pools.open(adds=9, spent=4))[0]
    slot = wanted()
    assert await slots.take(slot)
    # Asked before the add, or after it: nobody can tell from the answer.
    for counted, spent in ((4, 5), (5, 6)):
        await slots.refreshed(sold(adds=9, spent=counted), 0, None, NOW)
        assert (await slots.read()).adds_spent == spent
    assert await slots.change(slot.attempt_id, SlotState.HELD, NOW + timedelta(seconds=1), "v1")
    await slots.refreshed(sold(adds=9, spent=4), 0, None, NOW)
    assert (await slots.read()).adds_spent == 5
    # One count too many goes away with the next answer.
    await slots.refreshed(sold(adds=9, spent=5), 0, None, NOW + timedelta(seconds=2))
    assert (await slots.read()).adds_spent == 6
    await slots.refreshed(sold(adds=9, spent=5), 0, None, LATER)
    assert (await slots.read()).adds_spent == 5


async def test_an_add_of_a_voice_that_is_gone_again_is_counted(pools: Pools) -> None:
    slots = (await pools.open(adds=9))[0]
    slot = wanted()
    assert await slots.take(slot)
    for state in (SlotState.HELD, SlotState.LEAVING):
        assert await slots.change(slot.attempt_id, state, NOW, "v1")
    assert await slots.give_back(slot.attempt_id, unspent=False)
    await slots.refreshed(sold(adds=9, spent=0), 0, None, NOW)
    assert figures(await slots.read()) == (0, 1)


async def test_an_add_that_is_spent_without_a_place_is_counted_like_any_other(pools: Pools) -> None:
    pool = await pools.open(adds=9, spent=4)
    assert all(await asyncio.gather(*(pool[number % 3].spend_add(NOW) for number in range(3))))
    assert figures(await pool[0].read()) == (0, 7)
    # Asked before the provider did any of it, shortly after that, and later.
    for counted, moment, spent in ((4, NOW, 7), (7, NOW + timedelta(seconds=1), 10), (7, LATER, 7)):
        await pool[0].refreshed(sold(adds=9, spent=counted), 0, None, moment)
        assert (await pool[0].read()).adds_spent == spent


async def test_places_and_names_share_the_adds_that_are_left(pools: Pools) -> None:
    pool = await pools.open(adds=5)
    asked = [
        pool[number % 3].spend_add(NOW) if number % 2 else pool[number % 3].take(wanted())
        for number in range(12)
    ]
    assert (await asyncio.gather(*asked)).count(True) == 5
    assert (await pool[0].read()).adds_left == 0
    await pool[0].refreshed(sold(adds=None, spent=5), 0, None, LATER)
    assert await pool[0].spend_add(LATER)


async def test_an_answer_that_comes_late_changes_nothing(pools: Pools) -> None:
    slots = (await pools.open())[0]
    await slots.refreshed(sold(places=5, adds=9, spent=7), 0, None, LATER)
    known = await slots.read()
    await slots.refreshed(sold(places=8, adds=9, spent=2), 0, None, NOW)
    assert await slots.read() == known


async def test_many_answers_at_once_count_as_one(pools: Pools) -> None:
    pool = await pools.open(places=3, adds=5)
    refreshes = (pool[number % 3].refreshed(sold(8, 20, 10), 1, None, LATER) for number in range(12))
    takes = (pool[number % 3].take(wanted(since=LATER)) for number in range(2))
    assert (await asyncio.gather(*takes, *refreshes))[:2] == [True, True]
    assert figures(await pool[0].read()) == (2, 12)
    await pool[0].refreshed(sold(8, 20, 12), 1, None, LATER)
    assert figures(await pool[0].read()) == (2, 14)
    won = await asyncio.gather(*(pool[number % 3].take(wanted()) for number in range(12)))
    assert won.count(True) == 5


async def test_a_new_cycle_begins_with_the_providers_count(pools: Pools) -> None:
    slots = (await pools.open(adds=9, spent=9))[0]
    assert not await slots.take(wanted())
    turned = CYCLE + timedelta(days=31)
    await slots.refreshed(sold(adds=3, spent=1, cycle=turned), 0, None, turned)
    ledger = await slots.read()
    assert (ledger.adds_left, ledger.renewed_at) == (2, turned)
    assert [await slots.take(wanted()) for _ in range(3)] == [True, True, False]


async def test_a_plan_may_begin_and_cease_to_limit_adds(pools: Pools) -> None:
    slots = (await pools.open(adds=1, spent=1))[0]
    await slots.refreshed(sold(adds=None, spent=1), 0, None, NOW)
    ledger = await slots.read()
    assert (ledger.most_adds, ledger.adds_left, ledger.adds_spent) == (None, None, 1)
    assert [await slots.take(wanted()) for _ in range(3)] == [True] * 3
    await slots.refreshed(sold(adds=5, spent=1), 0, None, LATER)
    assert (await slots.read()).adds_left == 1
    assert [await slots.take(wanted()) for _ in range(2)] == [True, False]


async def test_a_pool_whose_document_was_lost_begins_again(pools: Pools) -> None:
    slots = pools.unprepared()
    await slots.refreshed(sold(places=1), 0, None, NOW)
    assert [await slots.take(wanted()) for _ in range(2)] == [True, False]


@dataclass
class Provider:
    """Counts what a provider would: voices held, adds ever. Its clock is a little further with each look."""

    places: int
    adds: int
    voices: set[str] = field(default_factory=set)
    spent: int = 0
    at: datetime = NOW

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=200)
        return self.at

    def add(self, attempt_id: str) -> None:
        self.voices.add(attempt_id)
        self.spend()
        assert len(self.voices) <= self.places

    def spend(self) -> None:
        self.spent += 1
        assert self.spent <= self.adds


@dataclass
class Performer:
    """Does at random what the service does with places, and loses some answers of the provider."""

    slots: MongoSlots
    provider: Provider
    dice: random.Random

    async def step(self) -> None:
        await self.dice.choices([self.add, self.evict, self.refresh, self.look], [4, 2, 2, 1])[0]()

    async def add(self) -> None:
        slot = wanted(since=self.provider.now())
        if await self.slots.take(slot):
            await self._added(slot)

    async def _added(self, slot: Slot) -> None:
        outcome = self.dice.random()
        if outcome < 0.2:
            assert await self.slots.give_back(slot.attempt_id, unspent=True)
        elif outcome < 0.9:
            self.provider.add(slot.attempt_id)
            if outcome < 0.7:
                await self._named(slot.attempt_id)

    async def _named(self, attempt_id: str) -> None:
        assert await self.slots.change(attempt_id, SlotState.HELD, self.provider.now(), "v")
        if self.dice.random() < 0.4 and await self.slots.spend_add(self.provider.now()):
            self.provider.spend()

    async def evict(self) -> None:
        held = [slot for slot in (await self.slots.read()).slots if slot.state is SlotState.HELD]
        if not held:
            return
        victim = self.dice.choice(held).attempt_id
        await self.slots.change(victim, SlotState.LEAVING, self.provider.now(), "")
        self.provider.voices.discard(victim)
        slot = wanted(since=self.provider.now())
        if self.dice.random() < 0.7 and await self.slots.take_over(victim, slot):
            await self._added(slot)
        else:
            await self.slots.give_back(victim, unspent=False)

    async def refresh(self) -> None:
        asked, counted = self.provider.now(), self.provider.spent
        for _ in range(self.dice.randrange(3)):
            await self.look()
        await self.slots.refreshed(sold(self.provider.places, self.provider.adds, counted), 0, None, asked)

    async def look(self) -> None:
        spent = self.provider.spent
        ledger = await self.slots.read()
        assert len(ledger.slots) <= self.provider.places
        assert ledger.adds_spent >= spent

    async def settle(self) -> None:
        """What a reconciler does about adds whose answers were lost."""
        for slot in (await self.slots.read()).slots:
            if slot.state is SlotState.ADDING and slot.attempt_id in self.provider.voices:
                await self._named(slot.attempt_id)
            elif slot.state is SlotState.ADDING:
                assert await self.slots.give_back(slot.attempt_id, unspent=True)


@pytest.mark.parametrize("seed", range(6))
async def test_there_are_never_more_voices_or_adds_than_were_sold(pools: Pools, seed: int) -> None:
    pool, provider, dice = await pools.open(7, 60), Provider(7, 60), random.Random(seed)
    performers = [Performer(pool[number % 3], provider, random.Random(dice.random())) for number in range(9)]

    async def perform(performer: Performer) -> None:
        for _ in range(16):
            await performer.step()

    await asyncio.gather(*map(perform, performers))
    await performers[0].settle()
    assert {slot.attempt_id for slot in (await pool[0].read()).slots} == provider.voices
    await pool[1].refreshed(sold(7, 60, provider.spent), 0, None, provider.at + timedelta(minutes=1))
    await fills_up(pool, provider)


async def fills_up(pool: Pool, provider: Provider) -> None:
    """What is left can be taken, to the last place and the last add."""
    ledger = await pool[2].read()
    assert figures(ledger) == (len(provider.voices), provider.spent)
    left = min(7 - len(provider.voices), 60 - provider.spent)
    won = await asyncio.gather(*(pool[number % 3].take(wanted()) for number in range(12)))
    assert won.count(True) == left


@dataclass
class Line:
    """Between a client and a server; while it is cut, updates arrive, and the answers to them do not."""

    server: tuple[str, int]
    cut: bool = False
    lost: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1")
        yield server.sockets[0].getsockname()[1]
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self.server)
        deaf = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._asks(reader, to_server, deaf))
            group.create_task(self._answers(from_server, writer, deaf))

    async def _asks(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                if self.cut and b"\x02update\x00" in piece:
                    deaf.set()
                writer.write(piece)
        writer.close()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                if deaf.is_set():
                    self.lost += 1
                else:
                    writer.write(piece)
        writer.close()


Call = Callable[[MongoSlots], Awaitable[object]]
HELD, ANOTHER = wanted("held"), wanted("another")
CALLS: dict[str, Call] = {
    "take": lambda slots: slots.take(ANOTHER),
    "take_over": lambda slots: slots.take_over("held", ANOTHER),
    "change": lambda slots: slots.change("held", SlotState.HELD, NOW, "v1"),
    "give_back": lambda slots: slots.give_back("held", unspent=True),
    "restore": lambda slots: slots.restore(replace(ANOTHER, state=SlotState.HELD)),
    "refreshed": lambda slots: slots.refreshed(sold(9, 20, 3), 2, None, LATER),
    "begin_reconcile": lambda slots: slots.begin_reconcile("me", LATER, NOW),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_whose_answer_was_lost_is_repeated_without_harm(
    pools: Pools, mongo_url: str, name: str
) -> None:
    call, away, provider = CALLS[name], urlsplit(mongo_url), f"provider-{uuid4()}"
    calm, troubled = await pools.open(5, 9), await pools.open(5, 9, provider=provider)
    for pool in (calm, troubled):
        assert await pool[0].take(HELD)
    await call(calm[0])
    line = Line((str(away.hostname), int(away.port or 0)))
    async with line.open() as port:
        url = mongo_url.replace(away.netloc, f"127.0.0.1:{port}") + "&directConnection=true"
        async with database_client(url, connections=4, seconds=0.5) as client:
            line.cut = True
            with pytest.raises(VoiceStoreUnavailable):
                await call(pools.seen_by(client, provider))
    assert line.lost
    await call(troubled[1])
    expected, found = await calm[0].read(), await troubled[0].read()
    assert set(found.slots) == set(expected.slots)
    assert replace(found, slots=()) == replace(expected, slots=())
    assert [await troubled[2].take(wanted()) for _ in range(6)].count(True) == expected.free
