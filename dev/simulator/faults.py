"""What goes wrong, and when: what a test asked for first, then what the seed says."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from enum import StrEnum

from dev.simulator.chance import Chance


class Fault(StrEnum):
    """`before`: nothing has happened at the provider; `after`: it has, and nobody is told."""

    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"
    CONCURRENT = "too_many_concurrent_requests"
    BUSY = "system_busy"
    FAILED_BEFORE = "failed_before"
    FAILED_AFTER = "failed_after"
    SLOW_BODY = "slow_body"
    # After the effect: half of the answer, then the connection is gone.
    DROPPED = "dropped"
    # After the effect: 200, and nothing that can be read.
    GARBAGE = "garbage"
    # Of a text model only: it will not write about this.
    REFUSAL = "refusal"


# A text model's own refusal is a good answer; only a test asks for it.
_BY_CHANCE = tuple(fault for fault in Fault if fault is not Fault.REFUSAL)


class FaultPlan:
    def __init__(self, chance: Chance, share: float) -> None:
        self._chance = chance
        self.share = share
        self._asked_for: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.met: Counter[str] = Counter()

    def ask_for(self, operation: str, faults: Iterable[Fault]) -> None:
        """The next requests of this operation meet these, one each."""
        self._asked_for[operation].extend(faults)

    def settle_for(self, share: float) -> None:
        """From now on, so many of all requests meet a fault; what was asked for is forgotten."""
        self.share = share
        self._asked_for.clear()

    def draw(self, operation: str) -> Fault | None:
        fault = self._drawn(operation)
        if fault:
            self.met[f"{operation}:{fault}"] += 1
        return fault

    def _drawn(self, operation: str) -> Fault | None:
        if queue := self._asked_for[operation]:
            return queue.popleft()
        chance = self._chance.next(f"fault of {operation}")
        return chance.choice(_BY_CHANCE) if chance.random() < self.share else None
