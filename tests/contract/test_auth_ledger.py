"""What the ledger promises, on the real store: against a model, in races, and at the turn of a month."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from services.auth.domain.credits import JUST_BEGUN, Adjustment, Balance, Entry, State, period_of
from services.auth.domain.errors import CreditsExhausted, ReservationNotFound
from services.auth.mongo import Database, make_indexes, open_database
from services.auth.mongo.ledger import MongoLedger
from services.auth.usecases.statement import statement

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
LASTS = timedelta(minutes=5)
LONG_AFTER = timedelta(hours=3)


@pytest.fixture(scope="module")
async def replicas(mongo_url: str) -> AsyncIterator[Sequence[Database]]:
    """Two that share nothing but the store."""
    name = f"auth_ledger_{uuid4().hex}"
    async with open_database(mongo_url, name, 32) as one, open_database(mongo_url, name, 32) as two:
        await make_indexes(one)
        yield (one, two)


@pytest.fixture(scope="module")
def ledger(replicas: Sequence[Database]) -> MongoLedger:
    return replicas[0].ledger


def wanted(user_id: str, performance_id: str, credits: int, now: datetime = NOON) -> Entry:
    return Entry(
        performance_id, user_id, period_of(now), State.RESERVED, credits, 0, "local", now, now + LASTS
    )


def given(user_id: str, adjustment_id: str, amount: int, now: datetime = NOON) -> Entry:
    return Adjustment(adjustment_id, amount, "a reason").entry(user_id, now)


async def spent(ledger: MongoLedger, user_id: str, now: datetime = NOON) -> tuple[int, int]:
    balance = await ledger.balance(user_id, period_of(now))
    return balance.used, balance.reserved


async def test_a_month_that_never_began_is_empty(ledger: MongoLedger) -> None:
    assert await ledger.balance(str(uuid4()), "2026-11") == Balance("2026-11", 0, 0)


async def test_a_hundred_reservations_at_once_fill_the_limit_exactly(ledger: MongoLedger) -> None:
    user = str(uuid4())
    outcomes = await asyncio.gather(
        *(ledger.reserve(wanted(user, str(uuid4()), 30), 1000) for _ in range(100)), return_exceptions=True
    )
    assert sum(isinstance(outcome, CreditsExhausted) for outcome in outcomes) == 67
    assert await spent(ledger, user) == (0, 990)
    # Not one credit is lost: what is left can be had.
    await ledger.reserve(wanted(user, str(uuid4()), 10), 1000)
    with pytest.raises(CreditsExhausted):
        await ledger.reserve(wanted(user, str(uuid4()), 1), 1000)


async def test_one_performance_reserved_by_many_at_once_is_reserved_once(ledger: MongoLedger) -> None:
    user, performance = str(uuid4()), str(uuid4())
    entries = await asyncio.gather(*(ledger.reserve(wanted(user, performance, 30), 100) for _ in range(20)))
    assert {entry.reserved for entry in entries} == {30}
    assert await spent(ledger, user) == (0, 30)


async def test_settling_and_releasing_at_once_has_one_outcome(ledger: MongoLedger) -> None:
    for _ in range(10):
        user, performance = str(uuid4()), str(uuid4())
        await ledger.reserve(wanted(user, performance, 30), 100)
        outcomes = await asyncio.gather(
            *(ledger.settle(user, performance, 20, 100, NOON) for _ in range(5)),
            *(ledger.release(user, performance, NOON) for _ in range(5)),
        )
        assert len({(entry.state, entry.charged) for entry in outcomes}) == 1
        assert await spent(ledger, user) == (outcomes[0].charged, 0)


async def test_what_is_known_to_be_reserved_is_settled_once_and_only_while_it_is(ledger: MongoLedger) -> None:
    user = str(uuid4())
    heard, failed, longer = [
        await ledger.reserve(wanted(user, str(uuid4()), 50), 4000, began_at=NOON) for _ in range(3)
    ]
    settled = await asyncio.gather(*(ledger.settle_as_reserved(heard, 30, NOON) for _ in range(4)))
    assert [entry.charged for entry in settled if entry is not None] == [30]
    await ledger.release(user, failed.entry_id, NOON)
    assert await ledger.settle_as_reserved(failed, 30, NOON) is None
    assert await ledger.settle_as_reserved(longer, 51, NOON) is None
    assert await spent(ledger, user) == (30, 50)


async def test_a_settlement_beyond_its_reservation_takes_no_more_than_is_left(ledger: MongoLedger) -> None:
    user, first, second = str(uuid4()), str(uuid4()), str(uuid4())
    await ledger.reserve(wanted(user, first, 30), 100)
    await ledger.reserve(wanted(user, second, 60), 100)
    assert (await ledger.settle(user, first, 50, 100, NOON)).charged == 40
    assert await spent(ledger, user) == (40, 60)


async def test_settlements_beyond_their_reservations_at_once_never_overshoot(ledger: MongoLedger) -> None:
    user, performances = str(uuid4()), [str(uuid4()) for _ in range(10)]
    for performance in performances:
        await ledger.reserve(wanted(user, performance, 10), 130)
    await asyncio.gather(*(ledger.settle(user, performance, 25, 130, NOON) for performance in performances))
    assert await spent(ledger, user) == (130, 0)


async def test_another_users_performance_is_out_of_reach(ledger: MongoLedger) -> None:
    user, performance = str(uuid4()), str(uuid4())
    await ledger.reserve(wanted(user, performance, 30), 100)
    with pytest.raises(ReservationNotFound):
        await ledger.settle(str(uuid4()), performance, 30, 100, NOON)
    await ledger.release(str(uuid4()), performance, NOON)
    assert await spent(ledger, user) == (0, 30)


async def test_the_sweeper_returns_what_expired_once_however_many_sweep(ledger: MongoLedger) -> None:
    user, lost, kept = str(uuid4()), str(uuid4()), str(uuid4())
    await ledger.reserve(wanted(user, lost, 30), 100)
    await ledger.reserve(wanted(user, kept, 40, NOON + LASTS), 100)
    swept = await asyncio.gather(*(ledger.sweep(NOON + LASTS) for _ in range(4)))
    assert [entry.entry_id for entries in swept for entry in entries if entry.user_id == user] == [lost]
    assert await spent(ledger, user) == (0, 40)


@pytest.mark.parametrize("archived", [False, True])
async def test_what_was_heard_after_its_reservation_expired_is_still_charged_once(
    ledger: MongoLedger, archived: bool
) -> None:
    user, performance = str(uuid4()), str(uuid4())
    await ledger.reserve(wanted(user, performance, 30), 30)
    await ledger.sweep(NOON + LASTS)
    later = NOON + LASTS
    if archived:
        later = NOON + LONG_AFTER
        await ledger.sweep(later)
    await ledger.reserve(wanted(user, str(uuid4()), 30, later), 30)
    settled = await asyncio.gather(*(ledger.settle(user, performance, 25, 30, later) for _ in range(5)))
    assert {entry.charged for entry in settled} == {25}
    assert await spent(ledger, user) == (25, 30)


@pytest.mark.parametrize("end", ["settled", "released", "refused"])
async def test_an_archived_outcome_still_stands_and_its_month_stays_small(
    ledger: MongoLedger, end: str
) -> None:
    user, performance = str(uuid4()), str(uuid4())
    if end != "refused":
        await ledger.reserve(wanted(user, performance, 30), 100)
    if end == "settled":
        await ledger.settle(user, performance, 20, 100, NOON)
    else:
        await ledger.release(user, performance, NOON)
    await ledger.sweep(NOON + LONG_AFTER)
    month = await ledger._months.months.find_one(f"{user}:2026-11")
    assert month is not None
    assert month["entries"] == {}
    assert "sweep_at" not in month

    state = State.SETTLED if end == "settled" else State.RELEASED
    later = NOON + LONG_AFTER
    assert (await ledger.reserve(wanted(user, performance, 30, later), 100)).state is state
    assert (await ledger.settle(user, performance, 30, 100, later)).state is state
    assert (await ledger.release(user, performance, later)).state is state
    assert await spent(ledger, user) == ((20, 0) if end == "settled" else (0, 0))


MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)
BEFORE, AFTER = MIDNIGHT - timedelta(seconds=1), MIDNIGHT + timedelta(seconds=1)


async def test_a_performance_is_paid_by_the_month_it_began_in(ledger: MongoLedger) -> None:
    user, performance = str(uuid4()), str(uuid4())
    await ledger.reserve(wanted(user, performance, 30, BEFORE), 30)
    again = await ledger.reserve(wanted(user, performance, 30, AFTER), 30)
    assert again.period == "2026-11"
    await ledger.settle(user, performance, 20, 30, MIDNIGHT + timedelta(days=2))
    assert await spent(ledger, user, BEFORE) == (20, 0)
    assert await spent(ledger, user, AFTER) == (0, 0)
    await ledger.reserve(wanted(user, str(uuid4()), 30, AFTER), 30)


@pytest.mark.parametrize("began_at", [None, MIDNIGHT])
async def test_replicas_that_disagree_about_the_month_reserve_once(
    ledger: MongoLedger, began_at: datetime | None
) -> None:
    for _ in range(10):
        user, performance = str(uuid4()), str(uuid4())
        moments = [random.choice((BEFORE, AFTER)) for _ in range(8)]
        entries = await asyncio.gather(
            *(ledger.reserve(wanted(user, performance, 30, now), 100, began_at) for now in moments)
        )
        assert len({entry.period for entry in entries}) == 1
        held = [await spent(ledger, user, now) for now in (BEFORE, AFTER)]
        assert sorted(held) == [(0, 0), (0, 30)]


@pytest.mark.parametrize("began_at", [None, MIDNIGHT])
async def test_a_release_and_a_late_reservation_meet_across_the_turn_of_the_month(
    ledger: MongoLedger, began_at: datetime | None
) -> None:
    for first, second in ((BEFORE, AFTER), (AFTER, BEFORE)):
        user, performance = str(uuid4()), str(uuid4())
        await ledger.release(user, performance, first)
        late = await ledger.reserve(wanted(user, performance, 9, second), 100, began_at)
        assert late.state is State.RELEASED
    for _ in range(10):
        user, performance = str(uuid4()), str(uuid4())
        entry = wanted(user, performance, 9, random.choice((BEFORE, AFTER)))
        reserve = ledger.reserve(entry, 100, began_at)
        release = ledger.release(user, performance, random.choice((BEFORE, AFTER)))
        await asyncio.gather(reserve, release)
        assert [await spent(ledger, user, now) for now in (BEFORE, AFTER)] == [(0, 0), (0, 0)]


async def test_a_month_that_gives_or_takes_credits_does_so_once(ledger: MongoLedger) -> None:
    user, gift = str(uuid4()), str(uuid4())
    await asyncio.gather(*(ledger.adjust(given(user, gift, 50), 100) for _ in range(10)))
    assert (await ledger.balance(user, "2026-11")).adjusted == 50
    await ledger.reserve(wanted(user, str(uuid4()), 150), 100)
    with pytest.raises(CreditsExhausted):
        await ledger.reserve(wanted(user, str(uuid4()), 1), 100)
    with pytest.raises(CreditsExhausted):
        await ledger.adjust(given(user, str(uuid4()), -1), 100)
    # Archived, in another month, it is still known.
    for later in (NOON + LONG_AFTER, NOON + timedelta(days=60)):
        await ledger.sweep(later)
        assert (await ledger.adjust(given(user, gift, 50, later), 100)).period == "2026-11"
    assert await ledger.balance(user, "2027-01") == Balance("2027-01")


async def test_reservations_and_withdrawals_at_once_never_overshoot(ledger: MongoLedger) -> None:
    for _ in range(5):
        user = str(uuid4())
        await asyncio.gather(
            *(ledger.reserve(wanted(user, str(uuid4()), 7), 100) for _ in range(20)),
            *(ledger.adjust(given(user, str(uuid4()), -9), 100) for _ in range(10)),
            return_exceptions=True,
        )
        balance = await ledger.balance(user, "2026-11")
        # What is left is too little for either.
        assert 0 <= balance.left(100) < 7
        assert balance.reserved % 7 == balance.adjusted % 9 == 0


async def test_credits_are_given_also_to_a_month_above_its_limit(ledger: MongoLedger) -> None:
    user = str(uuid4())
    await ledger.reserve(wanted(user, str(uuid4()), 90), 100)
    await ledger.adjust(given(user, str(uuid4()), 5), 10)
    assert (await ledger.balance(user, "2026-11")).left(10) == -75


async def test_replicas_that_disagree_about_the_month_adjust_one_of_them(ledger: MongoLedger) -> None:
    for _ in range(5):
        user, gift = str(uuid4()), str(uuid4())
        moments = [random.choice((BEFORE, AFTER)) for _ in range(8)]
        entries = await asyncio.gather(*(ledger.adjust(given(user, gift, 5, now), 9) for now in moments))
        assert len({entry.period for entry in entries}) == 1
        months = [await ledger.balance(user, period_of(now)) for now in (BEFORE, AFTER)]
        assert sorted(month.adjusted for month in months) == [0, 5]


async def test_a_performance_that_began_long_ago_is_looked_for_everywhere(ledger: MongoLedger) -> None:
    user, performance = str(uuid4()), str(uuid4())
    await ledger.reserve(wanted(user, performance, 30), 100, NOON)
    await ledger.settle(user, performance, 20, 100, NOON)
    for later in (NOON + JUST_BEGUN, NOON + LONG_AFTER):
        await ledger.sweep(later)
        again = await ledger.reserve(wanted(user, performance, 30, later), 100, NOON)
        assert (again.state, again.charged) == (State.SETTLED, 20)
    assert await spent(ledger, user) == (20, 0)


LIMIT = 100


@dataclass
class Model:
    """The ledger as one would write it for a single caller with unlimited memory."""

    states: dict[str, tuple[State, int, int]] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    used: int = 0
    adjustments: dict[str, int] = field(default_factory=dict)

    @property
    def adjusted(self) -> int:
        return sum(self.adjustments.values())

    @property
    def left(self) -> int:
        return LIMIT + self.adjusted - self.used - self.reserved

    @property
    def statement(self) -> dict[str, tuple[State, int]]:
        performances = {
            performance: (state, held if state is State.RESERVED else charged)
            for performance, (state, held, charged) in self.states.items()
        }
        return performances | {each: (State.ADJUSTED, -amount) for each, amount in self.adjustments.items()}

    @property
    def reserved(self) -> int:
        return sum(held for state, held, _ in self.states.values() if state is State.RESERVED)

    def reserve(self, performance: str, credits: int, now: datetime) -> State | None:
        if performance not in self.states:
            if credits > self.left:
                return None
            self.states[performance] = (State.RESERVED, credits, 0)
            self.due[performance] = now + LASTS
        return self.states[performance][0]

    def settle(self, performance: str, cost: int) -> int | None:
        if performance not in self.states:
            return None
        state, held, charged = self.states[performance]
        if state in {State.RESERVED, State.EXPIRED}:
            room = held + max(0, self.left)
            charged = cost if state is State.EXPIRED else min(cost, room)
            self.states[performance] = (State.SETTLED, held, charged)
            self.used += charged
        return charged

    def release(self, performance: str) -> None:
        state, held, _ = self.states.get(performance, (State.EXPIRED, 0, 0))
        if state in {State.RESERVED, State.EXPIRED}:
            self.states[performance] = (State.RELEASED, held, 0)

    def adjust(self, adjustment: str, amount: int) -> int | None:
        if adjustment not in self.adjustments:
            if amount < 0 and self.left + amount < 0:
                return None
            self.adjustments[adjustment] = amount
        return self.adjustments[adjustment]

    def sweep(self, now: datetime) -> None:
        for performance, (state, held, _) in self.states.items():
            if state is State.RESERVED and self.due[performance] <= now:
                self.states[performance] = (State.EXPIRED, held, 0)


MINUTES = st.sampled_from([1, 5, 20])
STEPS = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 4), st.integers(1, 60)),
    st.tuples(st.just("settle"), st.integers(0, 4), st.integers(1, 60)),
    st.tuples(st.just("release"), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("adjust"), st.integers(0, 4), st.integers(-60, 60).filter(bool)),
    # Some expire reservations, some archive outcomes.
    st.tuples(st.just("sweep"), st.just(0), MINUTES),
    # What is due stays where it is: nobody swept.
    st.tuples(st.just("wait"), st.just(0), MINUTES),
    # A process that remembers nothing takes over.
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


@dataclass
class Life:
    """The same steps for the ledger and the model; each says whether both agree."""

    databases: Sequence[Database]
    # Whether callers say when a performance began: the ledger may then look less.
    told: bool
    user: str = field(default_factory=lambda: str(uuid4()))
    now: datetime = NOON
    model: Model = field(default_factory=Model)
    ids: Sequence[str] = field(default_factory=lambda: [str(uuid4()) for _ in range(5)])
    restarts: int = 0

    @property
    def database(self) -> Database:
        return self.databases[self.restarts % len(self.databases)]

    @property
    def ledger(self) -> MongoLedger:
        return self.database.ledger

    async def reserve(self, performance: str, credits: int) -> None:
        expected = self.model.reserve(performance, credits, self.now)
        began_at = NOON if self.told else None
        try:
            entry = await self.ledger.reserve(
                wanted(self.user, performance, credits, self.now), LIMIT, began_at
            )
            assert entry.state is expected
        except CreditsExhausted:
            assert expected is None

    async def settle(self, performance: str, cost: int) -> None:
        expected = self.model.settle(performance, cost)
        try:
            entry = await self.ledger.settle(self.user, performance, cost, LIMIT, self.now)
            assert entry.charged == expected
        except ReservationNotFound:
            assert expected is None

    async def release(self, performance: str, _: int) -> None:
        self.model.release(performance)
        await self.ledger.release(self.user, performance, self.now)

    async def adjust(self, adjustment: str, amount: int) -> None:
        expected = self.model.adjust(adjustment, amount)
        try:
            entry = await self.ledger.adjust(given(self.user, adjustment, amount, self.now), LIMIT)
            assert entry.adjusts == expected
        except CreditsExhausted:
            assert expected is None

    async def sweep(self, _: str, minutes: int) -> None:
        await self.wait(_, minutes)
        self.model.sweep(self.now)
        await self.ledger.sweep(self.now)

    async def wait(self, _: str, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    async def restart(self, _: str, __: int) -> None:
        self.restarts += 1

    async def agrees(self) -> None:
        balance = await self.ledger.balance(self.user, period_of(self.now))
        seen = (balance.used, balance.reserved, balance.adjusted)
        assert seen == (self.model.used, self.model.reserved, self.model.adjusted)
        said, _ = await statement(self.database.statement, self.user, "", 100, self.now)
        assert {entry.shown_id: (entry.state, entry.credits) for entry in said} == self.model.statement


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@hypothesis.given(steps=st.lists(STEPS, max_size=16), told=st.booleans())
async def test_any_order_of_calls_ends_as_in_the_model(
    replicas: Sequence[Database], steps: list[tuple[str, int, int]], told: bool
) -> None:
    life = Life(replicas, told)
    adjustments = [str(uuid4()) for _ in range(5)]
    for step, which, amount in steps:
        ids = adjustments if step == "adjust" else life.ids
        await getattr(life, step)(ids[which], amount)
        await life.agrees()
