"""The slot policy: what holds for every policy, and what the priced one promises."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.voice import policy as policy_module
from services.voice.policy import (
    DAY,
    NEVER,
    POLICIES,
    Budget,
    DecayedRate,
    Demand,
    Habit,
    Place,
    Policy,
    Rules,
    Ruling,
    Scarcity,
    UnknownPolicy,
    asked,
    cloned,
    decide,
    performed,
    policy_named,
    protected,
    rate,
    ruling,
    victim_of,
)

RULES = Rules()
NOW = 100 * DAY
moments = st.floats(0, NOW)
counts = st.floats(0, 500)
habits = st.builds(
    Habit, st.integers(1, 10_000), st.floats(0.05, 500), moments, st.one_of(st.just(NEVER), moments)
)
budgets = st.builds(Budget, st.integers(0, 2000), st.floats(0, 30 * DAY))
policies = st.sampled_from([policy_named(name) for name in POLICIES])


@st.composite
def pools(draw: st.DrawFn) -> list[Place]:
    drawn = draw(st.lists(st.tuples(habits, st.booleans()), max_size=12))
    return [Place(f"user-{number}", habit, pinned) for number, (habit, pinned) in enumerate(drawn)]


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    tuple_of = st.tuples(*[counts] * len(Demand().counts))
    at = draw(moments)
    return draw(st.one_of(st.just(Demand()), st.builds(Demand, tuple_of, st.just(at), st.floats(0, at))))


scarcities = st.builds(Scarcity, demands(), budgets, st.just(NOW))


@given(policies, habits, pools(), st.integers(0, 12), scarcities)
def test_who_performs_or_just_performed_keeps_the_place(
    policy: Policy, candidate: Habit, places: list[Place], capacity: int, scarcity: Scarcity
) -> None:
    decision = decide(policy, candidate, places, capacity, scarcity)
    gone = [place for place in places if place.user_id == decision.victim]
    assert not any(place.pinned or protected(place.habit, RULES, NOW) for place in gone)


@given(policies, habits, pools(), st.integers(0, 12), scarcities)
def test_nobody_is_admitted_without_an_add_and_a_place(
    policy: Policy, candidate: Habit, places: list[Place], capacity: int, scarcity: Scarcity
) -> None:
    decision = decide(policy, candidate, places, capacity, scarcity)
    if decision.admitted:
        assert scarcity.budget.adds != 0
        assert len(places) < capacity or decision.victim is not None
    else:
        assert decision.victim is None


@given(policies, habits, pools(), demands())
def test_with_adds_without_limit_whoever_finds_a_place_is_admitted(
    policy: Policy, candidate: Habit, places: list[Place], demand: Demand
) -> None:
    scarcity = Scarcity(demand, Budget(None, DAY), NOW)
    decision = decide(policy, candidate, places, len(places), scarcity)
    assert decision.admitted == (victim_of(policy, places, NOW) is not None)
    assert decide(policy, candidate, places, len(places) + 1, scarcity).admitted


@given(policies, habits, pools(), scarcities, st.integers(1, 500))
def test_who_is_admitted_is_admitted_with_more_adds_too(
    policy: Policy, candidate: Habit, places: list[Place], scarcity: Scarcity, more: int
) -> None:
    richer = replace(scarcity, budget=Budget((scarcity.budget.adds or 0) + more, scarcity.budget.seconds))
    for capacity in (len(places), len(places) + 1):
        if decide(policy, candidate, places, capacity, scarcity).admitted:
            assert decide(policy, candidate, places, capacity, richer).admitted


@given(policies, habits, st.none() | habits, scarcities, st.floats(0, 100))
def test_who_is_admitted_is_admitted_with_a_higher_rate_too(
    policy: Policy, candidate: Habit, victim: Habit | None, scarcity: Scarcity, more: float
) -> None:
    busier = replace(candidate, recent=candidate.recent + more)
    if ruling(policy, candidate, victim, scarcity) is Ruling.ADMITTED:
        assert ruling(policy, busier, victim, scarcity) is Ruling.ADMITTED


@given(policies, habits, pools(), scarcities, st.integers(0, 11))
def test_the_decision_does_not_depend_on_the_order_of_places(
    policy: Policy, candidate: Habit, places: list[Place], scarcity: Scarcity, cut: int
) -> None:
    turned = places[cut:] + places[:cut]
    found = [
        decide(policy, candidate, order, len(places), scarcity) for order in (places, turned, places[::-1])
    ]
    assert found[0] == found[1] == found[2]


@given(habits, habits, st.floats(0, 60 * DAY))
def test_worth_orders_users_as_their_rates_do_at_any_time(one: Habit, other: Habit, later: float) -> None:
    policy = DecayedRate()
    if policy.worth(one) > policy.worth(other) + 1e-9:
        assert rate(one, RULES, NOW + later) > rate(other, RULES, NOW + later)


@given(habits, st.floats(0, 2 * NOW))
def test_a_performance_never_lowers_worth(habit: Habit, now: float) -> None:
    after = performed(habit, RULES, now)
    for name in POLICIES:
        assert policy_named(name).worth(after) >= policy_named(name).worth(habit)
    assert after.last >= habit.last


def test_a_rate_halves_with_every_half_life_of_silence() -> None:
    habit = performed(Habit(), RULES, NOW)
    assert rate(habit, RULES, NOW + RULES.half_life_seconds) == pytest.approx(rate(habit, RULES, NOW) / 2)


def test_a_steady_user_is_seen_at_the_true_rate() -> None:
    habit = Habit()
    for day in range(100):
        habit = performed(habit, RULES, day * DAY)
    # Seen right after a performance, so half a performance's weight too high.
    assert rate(habit, RULES, 99 * DAY) == pytest.approx(1.0, abs=0.06)


def test_one_long_sitting_weighs_less_than_two_sittings() -> None:
    at_once, twice = Habit(), Habit()
    for minute in range(8):
        at_once = performed(at_once, RULES, NOW + minute * 60)
    for day in range(2):
        twice = performed(twice, RULES, NOW + day * DAY)
    assert rate(at_once, RULES, NOW + DAY) < rate(twice, RULES, NOW + DAY)


def crowd(users: int, gain: float = 1.0) -> Demand:
    """As many users who asked over the last ten days."""
    demand = Demand()
    for number in range(users):
        demand = asked(demand, gain, RULES, NOW - 10 * DAY + number * 10 * DAY / users)
    return demand


def test_an_add_costs_nothing_until_somebody_was_turned_away_for_want_of_one() -> None:
    assert DecayedRate().price(Scarcity(Demand(), Budget(1, 30 * DAY), NOW)) == NEVER


def test_an_add_costs_nothing_while_adds_suffice() -> None:
    assert DecayedRate().price(Scarcity(crowd(20), Budget(95, 10 * DAY), NOW)) == NEVER


def test_the_price_rises_as_adds_run_short() -> None:
    demand = crowd(600)
    prices = [DecayedRate().price(Scarcity(demand, Budget(adds, 20 * DAY), NOW)) for adds in (400, 100, 10)]
    assert prices == sorted(prices)
    assert prices[0] < prices[-1]


def test_the_price_falls_as_the_cycle_ends_with_adds_left() -> None:
    demand = crowd(600)
    prices = [DecayedRate().price(Scarcity(demand, Budget(30, days * DAY), NOW)) for days in (20, 2, 0.1)]
    assert prices == sorted(prices, reverse=True)
    assert prices[-1] == NEVER


def test_while_adds_are_short_a_user_who_was_given_one_waits_for_the_next() -> None:
    busy = Habit(500, 500.0, NOW)
    short = Scarcity(crowd(600), Budget(10, 20 * DAY), NOW)
    assert ruling(DecayedRate(), busy, None, short) is Ruling.ADMITTED
    just_now = cloned(busy, NOW - RULES.cooldown_seconds + 1)
    assert ruling(DecayedRate(), just_now, None, short) is Ruling.COOLING_DOWN
    assert ruling(DecayedRate(), just_now, None, replace(short, demand=Demand())) is Ruling.ADMITTED
    long_ago = cloned(busy, NOW - RULES.cooldown_seconds)
    assert ruling(DecayedRate(), long_ago, None, short) is Ruling.ADMITTED


def test_a_user_who_comes_once_does_not_push_out_one_who_comes_daily() -> None:
    daily = Place("daily", Habit(30, 8.0, NOW - DAY / 2))
    once = performed(Habit(), RULES, NOW)
    short = Scarcity(crowd(600), Budget(10, 20 * DAY), NOW)
    assert decide(DecayedRate(), once, [daily], 1, short).ruling is Ruling.NOT_WORTH_AN_ADD
    assert decide(policy_named("lru"), once, [daily], 1, short).victim == "daily"


def test_each_policy_evicts_by_its_own_measure() -> None:
    places = [
        Place("recent", Habit(9, 2.0, NOW - DAY)),
        Place("frequent", Habit(90, 1.0, NOW - 2 * DAY)),
        Place("steady", Habit(10, 40.0, NOW - 3 * DAY)),
    ]
    victims = {name: victim_of(policy_named(name), places, NOW) for name in POLICIES}
    named = {name: victim.user_id for name, victim in victims.items() if victim}
    assert named == {"decayed_rate": "frequent", "lru": "steady", "lfu": "recent"}


def test_a_demand_of_long_ago_is_forgotten() -> None:
    later = Scarcity(crowd(600), Budget(1, 30 * DAY), NOW + 100_000 * DAY)
    assert DecayedRate().price(later) == NEVER


def test_a_policy_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(UnknownPolicy, match="decayed_rate, lru, lfu"):
        policy_named("fifo")


@pytest.mark.parametrize("wrong", [{"haste": 0.0}, {"half_life_seconds": -1.0}, {"further_share": 1.5}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rules(**wrong)


def test_the_policy_reads_no_clock_and_touches_nothing_outside() -> None:
    tree = ast.parse(Path(policy_module.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"math", "collections.abc", "dataclasses", "enum", "types", "typing"}
