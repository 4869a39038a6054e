"""What a performance costs, which month pays for it, and how a reservation may end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

# How long an outcome stays in the month's document before it moves to the archive. Longer than any
# call lives, so that no call can start before a performance began and end after its outcome left.
OUTCOME_STAYS = timedelta(minutes=15)

# Around the turn of the month, calls with the same performance may disagree about the month: by
# how long a call lives, and by how far the replicas' clocks are apart. Below OUTCOME_STAYS.
MONTH_OVERLAP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CostFactors:
    default: Decimal = Decimal(1)
    models: Mapping[str, Decimal] = field(default_factory=dict)

    def cost(self, characters: int, model: str) -> int:
        """Credits for this many characters spoken by this model: never less than 1."""
        exact = characters * self.models.get(model, self.default)
        return max(1, int(exact.quantize(Decimal(1), ROUND_HALF_EVEN)))


class State(StrEnum):
    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"
    # Given back by the sweeper. Not final: what was heard all the same is still paid.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Entry:
    """One performance in the ledger."""

    performance_id: str
    user_id: str
    period: str
    state: State
    reserved: int
    charged: int
    model: str
    # When it got its state.
    at: datetime
    # When the sweeper takes it up: to expire a reservation, to archive an outcome.
    due: datetime

    @property
    def final(self) -> bool:
        return self.state in {State.SETTLED, State.RELEASED}

    @property
    def held(self) -> int:
        """Credits that are still set aside for it."""
        return self.reserved if self.state is State.RESERVED else 0


@dataclass(frozen=True, slots=True)
class Balance:
    period: str
    used: int = 0
    reserved: int = 0


def period_of(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m}"


def period_before(moment: datetime) -> str:
    return period_of(_first_day(moment) - timedelta(days=1))


def turns_at(moment: datetime) -> datetime:
    """00:00 UTC on the 1st of the next month."""
    return _first_day(_first_day(moment) + timedelta(days=32))


def _first_day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def periods_at(moment: datetime) -> tuple[str, ...]:
    """The months that some replica may take for the current one, oldest first: one, or two."""
    around = (moment - MONTH_OVERLAP, moment, moment + MONTH_OVERLAP)
    return tuple(dict.fromkeys(period_of(each) for each in around))


def charge(entry: Entry, cost: int, room: int) -> int:
    """What is taken for a performance that cost more or less than was set aside for it.

    Never more than the month has room for, so that the limit holds; except for a reservation that
    had expired: its credits may be promised to others, but what was heard is paid.
    """
    if entry.state is State.EXPIRED:
        return cost
    return min(cost, entry.held + max(0, room))
