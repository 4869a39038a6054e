"""How one run of the simulator behaves; a reset may change all of it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from dev.simulator.plans import PLANS, Plan

_OF_PLAN = frozenset(field.name for field in fields(Plan)) - {"tier"}


class OptionsRefused(ValueError):
    """There is no such plan or option."""


@dataclass(frozen=True, slots=True)
class Options:
    plan: Plan = PLANS["creator"]
    # The same seed gives the same ids, faults and waits, operation by operation.
    seed: int = 0
    # Of all requests, the share that meets a fault.
    fault_share: float = 0.0
    # What the vendors' own latencies are multiplied with; 0 answers at once.
    latency: float = 1.0
    # How long a request that never gets its answer is kept waiting.
    hang_seconds: float = 30.0
    cycle_seconds: float = 30 * 86_400.0
    # How long the text model pauses behind the first sentence of a stream.
    pause_seconds: float = 0.0
    # Empty: every key will do.
    key: str = ""
    # Whether a rename counts against the budget of adds and edits, as the vendor's words have it.
    edits_spend_budget: bool = True

    def changed(self, changes: dict[str, Any]) -> Self:
        """With `plan` by its name and any limit of the plan by its own. Raises OptionsRefused."""
        changes = dict(changes)
        tier = changes.pop("plan", self.plan.tier)
        if tier not in PLANS:
            raise OptionsRefused(f"there is no plan {tier!r}; there are {', '.join(PLANS)}")
        plan = PLANS[tier] if tier != self.plan.tier else self.plan
        limits = {name: changes.pop(name) for name in _OF_PLAN & changes.keys()}
        if unknown := changes.keys() - {field.name for field in fields(self)}:
            raise OptionsRefused(f"unknown: {', '.join(sorted(unknown))}")
        return replace(self, plan=replace(plan, **limits), **changes)
