"""Credits: set aside before a performance, charged at what it spent, given back when it fails."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import User
from services.auth.domain.credits import Balance, CostFactors, Entry, State, period_of
from services.auth.domain.errors import CreditsExhausted, PerformanceReleased
from services.auth.ports import Ledger, Users

log = structlog.get_logger()

RESERVATIONS = Counter(
    "newvisions_auth_reservations_total", "What became of calls to reserve, settle, release.", ["outcome"]
)
CREDITS_CHARGED = Counter("newvisions_auth_credits_charged_total", "Credits charged.")


@dataclass(frozen=True, slots=True)
class CreditRules:
    factors: CostFactors
    # For users without a limit of their own.
    monthly_limit: int
    reservation_lasts: timedelta

    def limit_of(self, user: User) -> int:
        return self.monthly_limit if user.monthly_limit is None else user.monthly_limit


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a performance speaks, or may speak at most."""

    performance_id: str
    characters: int
    model: str


@dataclass(frozen=True, slots=True)
class Account:
    user: User
    limit: int
    balance: Balance


class Credits:
    def __init__(self, users: Users, ledger: Ledger, rules: CreditRules) -> None:
        self._users = users
        self._ledger = ledger
        self._rules = rules

    async def account(self, user_id: str, now: datetime) -> Account:
        user = await self._users.get(user_id)
        balance = await self._ledger.balance(user_id, period_of(now))
        return Account(user, self._rules.limit_of(user), balance)

    async def reserve(self, user_id: str, spoken: Spoken, now: datetime) -> tuple[Entry, User]:
        """Raises CreditsExhausted, or PerformanceReleased when it ended unpaid before."""
        user = await self._users.get(user_id)
        wanted = Entry(
            performance_id=spoken.performance_id,
            user_id=user_id,
            period=period_of(now),
            state=State.RESERVED,
            reserved=self._rules.factors.cost(spoken.characters, spoken.model),
            charged=0,
            model=spoken.model,
            at=now,
            due=now + self._rules.reservation_lasts,
        )
        try:
            entry = await self._ledger.reserve(wanted, self._rules.limit_of(user))
        except CreditsExhausted:
            RESERVATIONS.labels("exhausted").inc()
            raise
        if entry.state in {State.RELEASED, State.EXPIRED}:
            raise PerformanceReleased("This performance has ended; its credits were given back.")
        RESERVATIONS.labels("reserved").inc()
        log.info("credits_reserved", performance_id=entry.performance_id, credits=entry.reserved)
        return entry, user

    async def settle(self, user_id: str, spoken: Spoken, now: datetime) -> tuple[Entry, Account]:
        """Raises ReservationNotFound. The account is that of the month which paid."""
        user = await self._users.get(user_id)
        limit = self._rules.limit_of(user)
        cost = self._rules.factors.cost(spoken.characters, spoken.model)
        entry = await self._ledger.settle(user_id, spoken.performance_id, cost, limit, now)
        if entry.at == now and entry.state is State.SETTLED:
            RESERVATIONS.labels("settled").inc()
            CREDITS_CHARGED.inc(entry.charged)
            log.info("credits_settled", performance_id=entry.performance_id, credits=entry.charged)
        if entry.charged < cost:
            log.warning(
                "credits_not_covered", performance_id=entry.performance_id, missing=cost - entry.charged
            )
        return entry, Account(user, limit, await self._ledger.balance(user_id, entry.period))

    async def release(self, user_id: str, performance_id: str, now: datetime) -> None:
        entry = await self._ledger.release(user_id, performance_id, now)
        if entry.at == now:
            RESERVATIONS.labels("released").inc()
            log.info("credits_released", performance_id=performance_id, credits=entry.reserved)

    async def return_expired(self, now: datetime) -> int:
        """How many reservations were given back because nobody settled or released them."""
        expired = await self._ledger.sweep(now)
        for entry in expired:
            RESERVATIONS.labels("expired").inc()
            log.warning("reservation_expired", performance_id=entry.performance_id, credits=entry.reserved)
        return len(expired)
