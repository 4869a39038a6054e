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

# A performance that began this recently has no archived outcome and no entry in a month that is over,
# whoever's clock says so. Well below MONTH_OVERLAP.
JUST_BEGUN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class CostFactors:
    default: Decimal = Decimal(1)
    models: Mapping[str, Decimal] = field(default_factory=dict)

    def cost(self, characters: int, model: str) -> int:
        """Credits for this many characters spoken by this model: never less than 1."""
        return _credits(characters, self.models.get(model, self.default))

    def most(self, characters: int, model: str) -> int:
        """What they may cost when this model is asked for. Without one, or with a name that has no price
        of its own (an engine's), any may speak."""
        dearest = max((self.default, *self.models.values()))
        return _credits(characters, self.models.get(model, dearest))


def _credits(characters: int, factor: Decimal) -> int:
    return max(1, int((characters * factor).quantize(Decimal(1), ROUND_HALF_EVEN)))


class State(StrEnum):
    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"
    # Given back by the sweeper. Not final: what was heard all the same is still paid.
    EXPIRED = "expired"
    # Not a performance: an administrator gave credits to the month, or took some.
    ADJUSTED = "adjusted"


# Keeps adjustments, whose ids are made by administrators, apart from performances.
_ADJUSTMENT = "adjusted-"


def filed_under(user_id: str, entry_id: str) -> str:
    """The id among those of all users: adjustments of many users may have been given one id."""
    return f"{user_id}:{entry_id}" if entry_id.startswith(_ADJUSTMENT) else entry_id


def entry_id_of(filed: str) -> str:
    return filed.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Entry:
    """One performance in the ledger, or one adjustment of the month."""

    entry_id: str
    user_id: str
    period: str
    state: State
    reserved: int
    # Negative for credits that an adjustment gave.
    charged: int
    model: str
    # When it got its state.
    at: datetime
    # When the sweeper takes it up: to expire a reservation, to archive an outcome.
    due: datetime
    # Why an administrator adjusted the month.
    reason: str = ""

    @property
    def final(self) -> bool:
        return self.state in {State.SETTLED, State.RELEASED, State.ADJUSTED}

    @property
    def held(self) -> int:
        """Credits that are still set aside for it."""
        return self.reserved if self.state is State.RESERVED else 0

    @property
    def adjusts(self) -> int:
        """By how much it raises the month's limit."""
        return -self.charged if self.state is State.ADJUSTED else 0

    @property
    def filed(self) -> str:
        return filed_under(self.user_id, self.entry_id)

    @property
    def shown_id(self) -> str:
        """The performance's, or the adjustment's as its maker called it."""
        return self.entry_id.removeprefix(_ADJUSTMENT)

    @property
    def credits(self) -> int:
        """What the statement says: charged, or set aside so far; negative for credits given."""
        return self.held or self.charged


@dataclass(frozen=True, slots=True)
class Balance:
    period: str
    used: int = 0
    reserved: int = 0
    # By how much administrators raised the limit of this month.
    adjusted: int = 0

    def left(self, limit: int) -> int:
        return limit + self.adjusted - self.used - self.reserved


@dataclass(frozen=True, slots=True)
class Adjustment:
    adjustment_id: str
    # Positive gives, negative takes.
    amount: int
    reason: str

    def entry(self, user_id: str, now: datetime) -> Entry:
        return Entry(
            entry_id=f"{_ADJUSTMENT}{self.adjustment_id}",
            user_id=user_id,
            period=period_of(now),
            state=State.ADJUSTED,
            reserved=0,
            charged=-self.amount,
            model="",
            at=now,
            due=now + OUTCOME_STAYS,
            reason=self.reason,
        )


def period_of(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m}"


def period_before(moment: datetime) -> str:
    return period_of(_first_day(moment) - timedelta(days=1))


def turns_at(moment: datetime) -> datetime:
    """00:00 UTC on the 1st of the next month."""
    return _first_day(_first_day(moment) + timedelta(days=32))


def _first_day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def periods_that_may_hold(now: datetime) -> tuple[str, ...]:
    """The months in which a performance of these days may still be kept."""
    return tuple(dict.fromkeys((*periods_at(now), period_before(now))))


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
