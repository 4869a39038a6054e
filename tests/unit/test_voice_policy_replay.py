"""The bench of the slot policy: it decides as the service would, and its bounds are bounds."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.pool.bounds import bounds
from bench.pool.loads import CYCLE_DAYS, DAY, Load, from_csv, synthetic
from bench.pool.replay import Pool, replay
from bench.pool.rivals import RIVALS, replay_rival
from services.voice.policy import (
    POLICIES,
    Budget,
    Habit,
    Place,
    Scarcity,
    asked,
    cloned,
    decide,
    performed,
    policy_named,
    protected,
    victim_of,
)

SLOTS, ADDS = 5, 20


def small(seed: int) -> Load:
    return synthetic(40, seed)


@pytest.mark.parametrize("name", POLICIES)
def test_the_index_of_the_replay_decides_as_the_service_does(name: str) -> None:
    policy, load = policy_named(name), small(3)
    pool = Pool(policy, SLOTS, ADDS, load.seconds)
    habits: dict[int, Habit] = {}
    held: set[int] = set()
    demand = pool.demand
    left = ADDS
    for now, user in load.performs():
        before = habits.get(user, Habit())
        habits[user] = performed(before, policy.rules, now)
        found = pool.perform(user, now)
        if user in held:
            assert found is None
            continue
        places = [Place(f"{one:04}", habits[one]) for one in held]
        victim = victim_of(policy, places, now) if len(held) >= SLOTS else None
        if left and (victim or len(held) < SLOTS) and now - before.last > policy.rules.sitting_seconds:
            gain = policy.gain(habits[user], victim.habit if victim else None, now)
            demand = asked(demand, gain, policy.rules, now)
        scarcity = Scarcity(demand, Budget(left, load.seconds - now), now)
        decision = decide(policy, habits[user], places, SLOTS, scarcity)
        assert found is not None
        assert found.admitted == decision.admitted
        assert (found.victim and int(found.victim)) == (decision.victim and int(decision.victim))
        if decision.admitted:
            held -= {int(decision.victim)} if decision.victim else set()
            held.add(user)
            habits[user] = cloned(habits[user], now)
            left -= 1
    assert left < ADDS - SLOTS


@pytest.mark.parametrize("seed", range(3))
def test_no_policy_spends_more_adds_than_there_are_or_serves_more_than_the_bound(seed: int) -> None:
    load = small(seed)
    upper = bounds(load, SLOTS, ADDS).upper_bound
    found = [replay(load, policy_named(name), SLOTS, ADDS) for name in POLICIES]
    found += [replay_rival(load, rival(SLOTS, ADDS)) for rival in RIVALS]
    for outcome in found:
        assert outcome.clones <= ADDS
        assert outcome.clones <= outcome.served <= upper * outcome.performs + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_the_upper_bound_is_above_the_best_of_all_schedules(seed: int) -> None:
    random = np.random.default_rng(seed)
    times = np.sort(random.uniform(0, CYCLE_DAYS * DAY, 9))
    load = Load("tiny", times, random.integers(0, 3, 9), 3, CYCLE_DAYS * DAY)
    best = most_served_with_one_place(load, adds=2)
    assert best <= bounds(load, 1, 2).upper_bound * 9 + 1e-6


def most_served_with_one_place(load: Load, adds: int) -> int:
    """By trying every choice of stays: who holds the only place from which performance to which."""
    who: list[int] = load.who.tolist()
    stays = [
        (begin, end, who[begin : end + 1].count(who[begin]))
        for begin in range(len(who))
        for end in range(begin, len(who))
    ]
    alone = max(served for _, _, served in stays)
    pairs = combinations(stays, adds)
    return max([alone, *(a[2] + b[2] for a, b in pairs if a[1] < b[0] or b[1] < a[0])])


def test_a_user_who_just_performed_is_not_replaced_in_the_replay() -> None:
    policy = policy_named("lru")
    pool = Pool(policy, 1, None, DAY)
    pool.perform(1, 0.0)
    soon = policy.rules.protect_seconds - 1
    assert protected(pool.habits[1], policy.rules, soon)
    refused = pool.perform(2, soon)
    admitted = pool.perform(2, soon + 2)
    assert refused is not None
    assert not refused.admitted
    assert admitted is not None
    assert admitted.victim == "1"


def test_a_load_depends_on_its_seed_alone() -> None:
    assert np.array_equal(small(1).times, small(1).times)
    assert not np.array_equal(small(1).times, small(2).times)


def test_a_trace_is_read_in_order_of_time(tmp_path: Path) -> None:
    file = tmp_path / "evening.csv"
    file.write_text("time_s,user\n50,ada\n10,bo\n60,bo\n")
    assert list(from_csv(file).performs()) == [(0.0, 1), (40.0, 0), (50.0, 1)]


def test_an_empty_trace_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "nobody.csv"
    file.write_text("time_s,user\n")
    with pytest.raises(ValueError, match="no performance"):
        from_csv(file)
