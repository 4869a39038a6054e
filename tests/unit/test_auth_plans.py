import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.auth.domain.accounts import User
from services.auth.domain.credits import CostFactors
from services.auth.domain.errors import PlanUnknown
from services.auth.plans import PlansUnusable, read_plans
from services.auth.settings import Settings

SHIPPED = Settings.model_fields["plans_file"].default
FACTORS = CostFactors(Decimal(1), {"fast": Decimal("0.5")})


def user(plan: str | None) -> User:
    return User("u", "ana", "ana@example.org", None, datetime(2026, 11, 3, tzinfo=UTC), plan=plan)


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "plans.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_user_without_a_plan_has_the_4000_credits_of_the_contract() -> None:
    assert read_plans(SHIPPED, FACTORS, None).of(user(None)).monthly_limit == 4000


def test_every_shipped_plan_can_be_had() -> None:
    plans = read_plans(SHIPPED, FACTORS, None)
    assert {plans.of(user(name)).name for name in plans.by_name} == set(plans.by_name)
    assert len(plans.by_name) > 1


def test_the_operator_may_set_another_limit_for_the_default_plan_only() -> None:
    plans = read_plans(SHIPPED, FACTORS, 70)
    assert (plans.of(user(None)).monthly_limit, plans.of(user("standard")).monthly_limit) == (70, 70)
    assert plans.of(user("studio")) == read_plans(SHIPPED, FACTORS, None).of(user("studio"))


def test_a_plan_may_have_prices_of_its_own(tmp_path: Path) -> None:
    content = {
        "default": "a",
        "plans": {
            "a": {"monthly_limit": 1},
            "b": {"monthly_limit": 2, "cost_factors": {"fast": 0.1, "whole": 2}},
        },
    }
    plans = read_plans(written(tmp_path, content), FACTORS, None)
    costs = {
        name: [plan.factors.cost(30, model) for model in ("fast", "whole", "other")]
        for name, plan in plans.by_name.items()
    }
    assert costs == {"a": [15, 30, 30], "b": [3, 60, 30]}


@pytest.mark.parametrize("name", ["", "gold", "Standard"])
def test_a_plan_that_is_not_in_the_file_is_refused(name: str) -> None:
    plans = read_plans(SHIPPED, FACTORS, None)
    with pytest.raises(PlanUnknown) as refused:
        plans.named(name)
    assert refused.value.reason == "PLAN_UNKNOWN"
    with pytest.raises(PlanUnknown):
        plans.of(user(name))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        {},
        {"default": "a", "plans": {}},
        {"default": "b", "plans": {"a": {"monthly_limit": 1}}},
        {"default": "a", "plans": {"a": {}}},
        {"default": "a", "plans": {"a": {"monthly_limit": -1}}},
        {"default": "a", "plans": {"a": {"monthly_limit": "4000"}}},
        {"default": "a", "plans": {"a": {"monthly_limit": True}}},
        {"default": "a", "plans": {"a": {"monthly_limit": 1, "cost_factors": {"m": 0}}}},
        {"default": "a", "plans": {"a": {"monthly_limit": 1, "cost_factors": {"m": "1"}}}},
        {"default": "a", "plans": {"a": {"monthly_limit": 1, "montly_limit": 2}}},
    ],
)
def test_a_file_with_a_wrong_plan_stops_the_start(tmp_path: Path, content: Any) -> None:
    with pytest.raises(PlansUnusable):
        read_plans(written(tmp_path, content), FACTORS, None)


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PlansUnusable):
        read_plans(tmp_path / "none.json", FACTORS, None)
