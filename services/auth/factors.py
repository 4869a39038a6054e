"""The cost factors, from a file that an operator may change."""

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from services.auth.domain.credits import CostFactors
from services.kernel.settings import SettingUnusable


class CostFactorsUnusable(SettingUnusable):
    """Stops the start: a wrong price is worse than none."""


def usable(factors: Iterable[object]) -> bool:
    return all(isinstance(factor, Decimal) and 0 < factor <= 100 for factor in factors)


def read_factors(path: Path) -> CostFactors:
    """Exact decimals: 0.1 is a tenth here. Raises CostFactorsUnusable."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
        default, models = read["default"], dict(read["models"])
        sound = usable((default, *models.values()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CostFactorsUnusable(
            f"setting AUTH_COST_FACTORS_FILE: the cost factors cannot be read: {path}"
        ) from error
    if not sound:
        raise CostFactorsUnusable(
            f"setting AUTH_COST_FACTORS_FILE: every factor must be above 0 and at most 100: {path}"
        )
    return CostFactors(default, models)
