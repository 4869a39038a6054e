"""What habits promise on a real cache: what the policy computes, for any number of replicas at once."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.kernel.cache import cache_client
from services.voice import policy
from services.voice.domain import PinsUnavailable, Voice
from services.voice.erasing import Erasing, Traces
from services.voice.policy import DAY, LEVELS, NEVER, Demand, Habit, Rules
from services.voice.slots import Reuse, Standing
from services.voice.valkey import ValkeyHabits, ValkeyPins
from tests.contract.losing_way import losing_way
from tests.contract.voice_pools import NOW

AT = NOW.timestamp()
RULES = Rules()


@pytest.fixture(scope="module")
async def cache(valkey_url: str) -> AsyncIterator[Redis]:
    """A database of its own: demand, recency and the count of leases have no user in their keys."""
    async with cache_client(valkey_url.removesuffix("/0") + "/7", 5) as client:
        yield client


@pytest.fixture
async def habits(cache: Redis) -> ValkeyHabits:
    await cache.flushdb()
    return ValkeyHabits(cache, RULES)


def a_user() -> str:
    return f"u-{uuid4()}"


async def once_more(habits: ValkeyHabits, user: str, now: float = AT, *, reused: bool = False) -> Habit:
    """As in no performance before."""
    return await habits.performed(user, str(uuid4()), now, reused=reused)


def near(expected: Habit) -> Habit:
    return replace(expected, recent=pytest.approx(expected.recent, rel=1e-9))  # type: ignore[arg-type]


RULES_OF_ALL_KINDS = st.builds(
    Rules,
    sitting_seconds=st.sampled_from([0.0, 60.0, 3600.0]),
    further_share=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    half_life_seconds=st.sampled_from([30.0, 0.7 * DAY, 7 * DAY]),
    demand_half_life_seconds=st.sampled_from([60.0, 3 * DAY]),
)
# A little and a lot later, at the very edge of a sitting, and now and then a clock that went back.
PAUSES = st.one_of(st.floats(-4000, 2e6), st.sampled_from([0.0, 60.0, 3600.0, 3600.001, 40 * DAY]))


@settings(max_examples=60, deadline=None)
@given(rules=RULES_OF_ALL_KINDS, steps=st.lists(st.tuples(PAUSES, st.booleans()), max_size=12))
async def test_habits_are_what_the_policy_computes(
    cache: Redis, rules: Rules, steps: list[tuple[float, bool]]
) -> None:
    habits, user, expected, now = ValkeyHabits(cache, rules), a_user(), Habit(), AT
    for pause, performs in steps:
        now += pause
        if performs:
            expected = policy.performed(expected, rules, now)
            assert await once_more(habits, user, now) == near(expected)
        else:
            expected = policy.cloned(expected, now)
            await habits.cloned(user, now)
        assert await habits.of([user]) == {user: near(expected)}


GAINS = st.one_of(st.floats(-1, 2000), st.sampled_from([*LEVELS, math.inf]).filter(math.isfinite))


@settings(max_examples=60, deadline=None)
@given(rules=RULES_OF_ALL_KINDS, steps=st.lists(st.tuples(PAUSES, GAINS), min_size=1, max_size=12))
async def test_demand_is_what_the_policy_computes(
    cache: Redis, rules: Rules, steps: list[tuple[float, float]]
) -> None:
    await cache.flushdb()
    habits, expected, now = ValkeyHabits(cache, rules), Demand(), AT
    assert await habits.demand() == expected
    for pause, gain in steps:
        now += pause
        expected = policy.asked(expected, gain, rules, now)
        await habits.asked(a_user(), gain, now)
    found = await habits.demand()
    assert (found.at, found.since) == (expected.at, expected.since)
    assert found.counts == pytest.approx(expected.counts, rel=1e-9)


async def test_who_was_never_seen_has_an_empty_habit(habits: ValkeyHabits) -> None:
    seen, unseen = a_user(), a_user()
    await once_more(habits, seen)
    assert await habits.of([unseen, seen]) == {unseen: Habit(), seen: Habit(1, 1.0, AT, NEVER)}
    assert await habits.of([]) == {}


async def test_performances_that_many_replicas_count_at_once_are_all_counted(
    habits: ValkeyHabits, cache: Redis
) -> None:
    user, replicas = a_user(), [ValkeyHabits(cache, RULES) for _ in range(4)]
    await asyncio.gather(*(once_more(replica, user) for replica in replicas for _ in range(10)))
    assert (await habits.of([user]))[user] == near(Habit(40, 1 + 39 * RULES.further_share, AT))


async def test_a_user_asks_once_a_sitting(habits: ValkeyHabits) -> None:
    user, other = a_user(), a_user()
    for after in (0, 1800, 3600, 5400):
        await habits.asked(user, 1.0, AT + after)
    assert sum((await habits.demand()).counts) == 1
    # Asking is no performance.
    assert await habits.of([user]) == {user: Habit()}
    await asyncio.gather(*(habits.asked(other, 1.0, AT + 5400) for _ in range(8)))
    assert sum((await habits.demand()).counts) == pytest.approx(2, rel=0.1)
    await habits.asked(user, 1.0, AT + 5400 + 3601)
    assert sum((await habits.demand()).counts) == pytest.approx(3, rel=0.1)


async def test_the_habits_of_the_silent_are_forgotten(cache: Redis) -> None:
    lasting = Rules(
        half_life_seconds=100.0, cooldown_seconds=200.0, sitting_seconds=10.0, protect_seconds=10.0
    )
    cooling = replace(lasting, cooldown_seconds=5000.0)
    for rules, seconds in ((lasting, 800), (cooling, 5000)):
        habits = ValkeyHabits(cache, rules)
        calls = (
            lambda user, now, by=habits: once_more(by, user, now),
            habits.cloned,
            lambda user, now, by=habits: by.asked(user, 1.0, now),
        )
        for call in calls:
            user = a_user()
            await call(user, AT)
            (key,) = [key async for key in cache.scan_iter(f"*{user}*")]
            assert seconds - 5 <= await cache.ttl(key) <= seconds


async def test_a_performance_whose_count_had_no_answer_is_counted_once(
    habits: ValkeyHabits, valkey_url: str
) -> None:
    user, cache_url = a_user(), valkey_url.removesuffix("/0") + "/7"
    first = policy.performed(await once_more(habits, user, AT - DAY), RULES, AT)
    second = policy.performed(first, RULES, AT + 1)
    async with losing_way(cache_url) as way, cache_client(way.url, seconds=5) as valkey:
        behind = ValkeyHabits(valkey, RULES)
        assert await behind.performed(user, "first", AT, reused=True) == near(first)
        way.loses_the_next = True
        assert await behind.performed(user, "second", AT + 1, reused=True) == near(second)
        assert way.lost == 1
    # What else is written of the user forgets nothing of it.
    await habits.cloned(user, AT + 2)
    await habits.asked(user, 1.0, AT + 2)
    await habits.performed(user, "second", AT + 3, reused=True)
    assert await habits.of([user]) == {user: near(policy.cloned(second, AT + 2))}
    assert await habits.reuse() == Reuse(3, 2)


async def test_leases_are_counted(habits: ValkeyHabits) -> None:
    assert await habits.reuse() == Reuse(0, 0)
    for reused in (True, False, True):
        await once_more(habits, a_user(), reused=reused)
    assert await habits.reuse() == Reuse(3, 2)


async def test_recency_orders_the_voices_that_are_there(habits: ValkeyHabits) -> None:
    one, two, three = a_user(), a_user(), a_user()
    assert await habits.touched(one, AT) == Standing(None, 0)
    for moment, user in enumerate((one, two, three)):
        await habits.entered(user, AT + moment)
    assert await habits.touched(three, AT) == Standing(0, 3)
    assert await habits.touched(two, AT) == Standing(1, 3)
    assert await habits.touched(one, AT + 9) == Standing(0, 3)
    # News from a moment before tells nothing.
    await habits.entered(one, AT)
    assert await habits.touched(one, AT) == Standing(0, 3)
    for _ in range(2):
        await habits.left(three)
    assert await habits.touched(three, AT + 99) == Standing(None, 2)
    assert await habits.touched(two, AT) == Standing(1, 2)


async def test_recency_is_rebuilt_from_nothing_and_keeps_what_it_knows(
    habits: ValkeyHabits, cache: Redis
) -> None:
    one, two, three, gone = a_user(), a_user(), a_user(), a_user()
    held = {one: AT - 30, two: AT - 20, three: AT - 10}
    for _ in range(2):
        await habits.rebuild(held)
        assert [(await habits.touched(user, 0)).position for user in held] == [2, 1, 0]
    await habits.touched(one, AT)
    await habits.entered(gone, AT)
    await habits.rebuild(held)
    assert [(await habits.touched(user, 0)).position for user in held] == [0, 2, 1]
    assert await habits.touched(gone, AT) == Standing(None, 3)
    # Everything is lost, the scripts too.
    await cache.flushall()
    await cache.script_flush()
    assert await habits.touched(one, AT) == Standing(None, 0)
    await habits.rebuild(held)
    assert await habits.touched(two, 0) == Standing(1, 3)
    assert await once_more(habits, one) == Habit(1, 1.0, AT)
    await habits.rebuild({})
    assert await habits.touched(one, AT) == Standing(None, 0)


async def test_a_whole_pool_is_rebuilt_at_once(habits: ValkeyHabits) -> None:
    held = {a_user(): AT + moment for moment in range(5000)}
    await habits.rebuild(held)
    assert await habits.touched(next(iter(held)), 0) == Standing(4999, 5000)


async def test_who_is_erased_leaves_nothing(habits: ValkeyHabits, cache: Redis) -> None:
    user, pins = a_user(), ValkeyPins(cache)
    await pins.pin(user, "one", NOW + timedelta(minutes=1))
    await once_more(habits, user)
    await habits.asked(user, 1.0, AT)
    await habits.entered(user, AT)
    for _ in range(2):
        await pins.forget(user)
        await habits.forget(user)
    assert await habits.of([user]) == {user: Habit()}
    assert await habits.touched(user, AT) == Standing(None, 0)
    left = {key async for key in cache.scan_iter("*")}
    assert left == {"voice:pool:demand", "voice:pool:leases"}


async def test_a_cache_that_is_away_is_said_to_be_unavailable() -> None:
    async with cache_client("redis://127.0.0.1:9/", 0.1) as client:
        away = ValkeyHabits(client, RULES)
        for call in (
            away.of(["ada"]),
            once_more(away, "ada"),
            away.cloned("ada", AT),
            away.demand(),
            away.asked("ada", 1.0, AT),
            away.reuse(),
            away.entered("ada", AT),
            away.touched("ada", AT),
            away.left("ada"),
            away.rebuild({"ada": AT}),
        ):
            with pytest.raises(PinsUnavailable):
                await call


class NothingElse:
    """No voice and no answers of anybody."""

    async def get(self, user_id: str) -> Voice:
        return Voice(user_id)

    async def erase(self, user_id: str) -> None:
        return

    async def forget(self, user_id: str) -> int:
        return 0


async def test_an_erasure_is_not_done_while_the_cache_may_still_know_who_performed(
    habits: ValkeyHabits, cache: Redis
) -> None:
    user, nothing = a_user(), cast(Any, NothingElse())
    await once_more(habits, user)

    def erasing(client: Redis) -> Erasing:
        traces = Traces(nothing, ValkeyPins(client), ValkeyHabits(client, RULES))
        return Erasing(nothing, traces, nothing)

    async with cache_client("redis://127.0.0.1:9/", 0.1) as away:
        assert not (await erasing(away).erase_user(user, "first")).done
    assert (await erasing(cache).erase_user(user, "first")).done
    assert await habits.of([user]) == {user: Habit()}
