"""Plans: how many credits a month has, and what a character costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.auth.domain.accounts import User
from services.auth.domain.credits import CostFactors
from services.auth.domain.errors import PlanUnknown


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    monthly_limit: int
    factors: CostFactors


@dataclass(frozen=True, slots=True)
class Plans:
    # Of users without a plan of their own.
    usual: Plan
    by_name: Mapping[str, Plan]

    def named(self, name: str) -> Plan:
        """Raises PlanUnknown."""
        if name not in self.by_name:
            raise PlanUnknown(f"There is no plan {name}.")
        return self.by_name[name]

    def of(self, user: User) -> Plan:
        """Raises PlanUnknown when the user's plan was taken out of the file."""
        return self.usual if user.plan is None else self.named(user.plan)
