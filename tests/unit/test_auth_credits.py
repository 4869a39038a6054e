import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.credits import (
    JUST_BEGUN,
    MONTH_OVERLAP,
    OUTCOME_STAYS,
    Adjustment,
    CostFactors,
    Entry,
    State,
    charge,
    entry_id_of,
    period_before,
    period_of,
    periods_at,
    periods_that_may_hold,
    turns_at,
)
from services.auth.factors import CostFactorsUnusable, read_factors
from services.auth.settings import Settings

SHIPPED = read_factors(Settings.model_fields["cost_factors_file"].default)
MOMENTS = st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("characters", "model", "cost"),
    [
        (100, "eleven_flash_v2_5", 50),
        (101, "eleven_turbo_v2_5", 50),
        (103, "eleven_flash_v2_5", 52),
        (1, "eleven_flash_v2_5", 1),
        (101, "eleven_multilingual_v2", 101),
        (101, "eleven_v3", 101),
        (101, "local", 101),
        (101, "", 101),
    ],
)
def test_the_shipped_factors_are_those_of_the_contract(characters: int, model: str, cost: int) -> None:
    assert SHIPPED.cost(characters, model) == cost


@given(st.integers(1, 10_000), st.decimals(Decimal("0.01"), 10, places=2))
def test_a_cost_is_the_exact_product_rounded_half_to_even_and_at_least_one(
    characters: int, factor: Decimal
) -> None:
    expected = max(1, round(Fraction(factor) * characters))
    assert CostFactors(models={"m": factor}).cost(characters, "m") == expected


@given(
    st.integers(1, 10_000),
    st.dictionaries(st.sampled_from("abcd"), st.decimals(Decimal("0.01"), 10, places=2)),
    st.sampled_from(["", *"abcd"]),
    st.sampled_from([*"abcd", "local"]),
)
def test_what_is_set_aside_covers_whatever_may_speak(
    characters: int, factors: dict[str, Decimal], asked: str, speaks: str
) -> None:
    prices = CostFactors(models=factors)
    if asked in factors:
        # Another one than was asked for does not speak.
        assert prices.most(characters, asked) == prices.cost(characters, asked)
    else:
        assert prices.most(characters, asked) >= prices.cost(characters, speaks)


@given(MOMENTS)
def test_a_month_lasts_until_it_turns(moment: datetime) -> None:
    turn = turns_at(moment)
    assert turn > moment
    assert turn - moment <= timedelta(days=31)
    assert period_of(turn - timedelta(microseconds=1)) == period_of(moment)
    assert period_of(turn) > period_of(moment)
    assert period_before(turn) == period_of(moment)


@given(MOMENTS, st.timedeltas(-MONTH_OVERLAP, MONTH_OVERLAP))
def test_replicas_whose_clocks_differ_a_little_share_a_month(moment: datetime, skew: timedelta) -> None:
    assert period_of(moment + skew) in periods_at(moment)
    assert list(periods_at(moment)) == sorted(periods_at(moment))
    assert len(periods_at(moment)) <= 2


def test_the_month_is_that_of_utc() -> None:
    madrid = datetime(2026, 12, 1, 0, 30, tzinfo=UTC).astimezone(tz=None)
    assert period_of(madrid) == "2026-12"
    assert turns_at(madrid) == datetime(2027, 1, 1, tzinfo=UTC)


def test_marks_at_the_turn_of_the_month_outlive_it() -> None:
    assert OUTCOME_STAYS > 2 * MONTH_OVERLAP


@given(MOMENTS, st.timedeltas(-MONTH_OVERLAP / 2, MONTH_OVERLAP / 2), st.timedeltas(timedelta(0), JUST_BEGUN))
def test_what_began_just_now_is_in_a_month_that_is_settled_with(
    began: datetime, skew: timedelta, age: timedelta
) -> None:
    """Another replica, whose clock differs, may have reserved it at any moment since it began."""
    assert period_of(began + skew) in periods_at(began + age)
    assert age + abs(skew) < OUTCOME_STAYS


@given(MOMENTS)
def test_a_reservation_is_looked_for_in_this_month_and_in_the_one_before(moment: datetime) -> None:
    months = periods_that_may_hold(moment)
    assert {period_before(moment), *periods_at(moment)} == set(months)
    assert len(months) == len(set(months))


@given(st.integers(-1000, 1000).filter(bool), MOMENTS)
def test_an_adjustment_is_an_entry_of_the_running_month(amount: int, now: datetime) -> None:
    adjustment_id = "0b8b3f3e-5f0c-4f7e-9d3a-1f2e3d4c5b6a"
    made = Adjustment(adjustment_id, amount, "a gift").entry("ana", now)
    assert (made.adjusts, made.credits, made.held, made.final) == (amount, -amount, 0, True)
    assert (made.shown_id, made.period) == (adjustment_id, period_of(now))
    # No performance's id, not even one that was copied from it; no other user's adjustment.
    assert made.entry_id != adjustment_id
    assert made.filed != Adjustment(adjustment_id, amount, "a gift").entry("eva", now).filed
    assert entry_id_of(made.filed) == made.entry_id


def entry(state: State, reserved: int) -> Entry:
    now = datetime(2026, 11, 3, tzinfo=UTC)
    return Entry("p", "u", "2026-11", state, reserved, 0, "local", now, now)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(-500, 500))
def test_a_charge_stays_within_what_was_set_aside_and_what_the_month_has_left(
    reserved: int, cost: int, room: int
) -> None:
    taken = charge(entry(State.RESERVED, reserved), cost, room)
    assert taken <= reserved + max(0, room)
    assert taken == cost or taken == reserved + max(0, room)


@given(st.integers(1, 500), st.integers(-500, 0))
def test_what_was_heard_after_its_reservation_expired_is_paid_in_full(cost: int, room: int) -> None:
    assert charge(entry(State.EXPIRED, 100), cost, room) == cost


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"default": "1", "models": {}}',
        '{"default": 1, "models": {"m": 0}}',
        '{"default": -1}',
    ],
)
def test_a_file_with_a_wrong_price_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "factors.json").write_text(content)
    with pytest.raises(CostFactorsUnusable):
        read_factors(tmp_path / "factors.json")


def test_an_operator_may_change_the_prices(tmp_path: Path) -> None:
    (tmp_path / "factors.json").write_text(json.dumps({"default": 2, "models": {"cheap": 0.1}}))
    factors = read_factors(tmp_path / "factors.json")
    assert (factors.cost(30, "cheap"), factors.cost(30, "other")) == (3, 60)
