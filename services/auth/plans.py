"""The plans, from a file that an operator may change or replace."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.auth.domain.credits import CostFactors
from services.auth.domain.plans import Plan, Plans
from services.auth.factors import usable
from services.kernel.settings import SettingUnusable


class PlansUnusable(SettingUnusable):
    """Stops the start: a wrong limit is worse than none."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Plan(_Written):
    monthly_limit: int = Field(ge=0, le=10_000_000)
    # Instead of the common ones, for the models named here.
    cost_factors: dict[str, Decimal | int] = {}


class _File(_Written):
    default: str
    plans: dict[str, _Plan]


def read_plans(path: Path, factors: CostFactors, monthly_limit: int | None) -> Plans:
    """With `monthly_limit` in place of the default plan's, when there is one. Raises PlansUnusable."""
    try:
        read = _File.model_validate(json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal))
    except (OSError, ValueError, ValidationError) as error:
        raise PlansUnusable(f"setting AUTH_PLANS_FILE: the plans cannot be read: {path}") from error
    plans = {name: _plan(name, plan, factors) for name, plan in read.plans.items()}
    if read.default not in plans:
        raise PlansUnusable(f"setting AUTH_PLANS_FILE: the default plan is none of the plans: {path}")
    if monthly_limit is not None:
        plans[read.default] = replace(plans[read.default], monthly_limit=monthly_limit)
    return Plans(plans[read.default], plans)


def _plan(name: str, written: _Plan, factors: CostFactors) -> Plan:
    models = {model: Decimal(factor) for model, factor in written.cost_factors.items()}
    if not usable(models.values()):
        raise PlansUnusable(
            f"setting AUTH_PLANS_FILE: every factor must be above 0 and at most 100: plan {name}"
        )
    return Plan(name, written.monthly_limit, CostFactors(factors.default, {**factors.models, **models}))
