"""Credits: set aside before a performance, charged at what it spent, given back when it fails."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import User
from services.auth.domain.credits import Adjustment, Balance, Entry, State, period_of
from services.auth.domain.errors import (
    AdjustmentIdReused,
    CreditsExhausted,
    CreditsSpent,
    PerformanceReleased,
    PlanUnknown,
)
from services.auth.domain.plans import Plan, Plans
from services.auth.ports import Ledger, Users

log = structlog.get_logger()

RESERVATIONS = Counter(
    "auth_reservations_total", "What became of calls to reserve, settle, release.", ["outcome"]
)
CREDITS_CHARGED = Counter("auth_credits_charged_total", "Credits charged.")


@dataclass(frozen=True, slots=True)
class CreditRules:
    plans: Plans
    reservation_lasts: timedelta

    def plan_of(self, user: User) -> Plan:
        try:
            return self.plans.of(user)
        except PlanUnknown:
            # The operator took it out of the file: its users perform on, and the operator is told.
            log.warning("plan_missing", plan=user.plan, subject_id=user.user_id)
            return self.plans.usual

    def limit_of(self, user: User) -> int:
        return self.plan_of(user).monthly_limit if user.monthly_limit is None else user.monthly_limit

    def cost(self, user: User, spoken: "Spoken") -> int:
        return self.plan_of(user).factors.cost(spoken.characters, spoken.model)

    def most(self, user: User, spoken: "Spoken") -> int:
        return self.plan_of(user).factors.most(spoken.characters, spoken.model)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a performance speaks, or may speak at most."""

    performance_id: str
    characters: int
    model: str
    # When its id was made, as far as that is known.
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    user: User
    # Of this month, with its adjustments.
    limit: int
    balance: Balance
    plan: str


class Credits:
    def __init__(self, users: Users, ledger: Ledger, rules: CreditRules) -> None:
        self._users = users
        self._ledger = ledger
        self._rules = rules
        self._opened = _Opened()

    async def account(self, user_id: str, now: datetime) -> Account:
        user = await self._users.get(user_id)
        return self._account(user, await self._ledger.balance(user_id, period_of(now)))

    async def accounts(self, users: Sequence[User], now: datetime) -> list[Account]:
        """Of users that were read a moment ago, also when one is gone by now."""
        balances = await self._ledger.balances([user.user_id for user in users], period_of(now))
        return [self._account(user, balances[user.user_id]) for user in users]

    def _account(self, user: User, balance: Balance) -> Account:
        # A smaller plan, taken up late in the month, may leave less than nothing.
        limit = max(0, self._rules.limit_of(user) + balance.adjusted)
        return Account(user, limit, balance, self._rules.plan_of(user).name)

    def require_plan(self, name: str) -> None:
        """Raises PlanUnknown."""
        self._rules.plans.named(name)

    async def reserve(self, user_id: str, spoken: Spoken, now: datetime) -> tuple[Entry, User]:
        """Raises CreditsExhausted, or PerformanceReleased when it ended unpaid before."""
        user = await self._users.get(user_id)
        wanted = Entry(
            entry_id=spoken.performance_id,
            user_id=user_id,
            period=period_of(now),
            state=State.RESERVED,
            reserved=self._rules.most(user, spoken),
            charged=0,
            model=spoken.model,
            at=now,
            due=now + self._rules.reservation_lasts,
        )
        try:
            entry = await self._ledger.reserve(wanted, self._rules.limit_of(user), spoken.began_at)
        except CreditsExhausted:
            RESERVATIONS.labels("exhausted").inc()
            raise
        if entry.state in {State.RELEASED, State.EXPIRED}:
            raise PerformanceReleased("This performance has ended; its credits were given back.")
        RESERVATIONS.labels("reserved").inc()
        log.info("credits_reserved", performance_id=entry.entry_id, credits=entry.reserved)
        self._opened.add(entry, user)
        return entry, user

    async def settle(self, user_id: str, spoken: Spoken, now: datetime) -> tuple[Entry, Account]:
        """Raises ReservationNotFound. The account is that of the month which paid."""
        settled = await self._settled_as_opened(user_id, spoken, now)
        entry, user = settled or await self._settled(user_id, spoken, now)
        if entry.at == now and entry.state is State.SETTLED:
            RESERVATIONS.labels("settled").inc()
            CREDITS_CHARGED.inc(entry.charged)
            log.info("credits_settled", performance_id=entry.entry_id, credits=entry.charged)
        return entry, self._account(user, await self._ledger.balance(user_id, entry.period))

    async def _settled_as_opened(
        self, user_id: str, spoken: Spoken, now: datetime
    ) -> tuple[Entry, User] | None:
        """Without reading again what this process read when it set the credits aside."""
        opened = self._opened.take(spoken.performance_id)
        if opened is None or opened.user.user_id != user_id:
            return None
        cost = self._rules.cost(opened.user, spoken)
        entry = await self._ledger.settle_as_reserved(opened.entry, cost, now)
        return None if entry is None else (entry, opened.user)

    async def _settled(self, user_id: str, spoken: Spoken, now: datetime) -> tuple[Entry, User]:
        user = await self._users.get(user_id)
        cost = self._rules.cost(user, spoken)
        limit = self._rules.limit_of(user)
        entry = await self._ledger.settle(user_id, spoken.performance_id, cost, limit, now)
        if entry.charged < cost:
            log.warning("credits_not_covered", performance_id=entry.entry_id, missing=cost - entry.charged)
        return entry, user

    async def release(self, user_id: str, performance_id: str, now: datetime) -> None:
        self._opened.take(performance_id)
        entry = await self._ledger.release(user_id, performance_id, now)
        if entry.at == now:
            RESERVATIONS.labels("released").inc()
            log.info("credits_released", performance_id=performance_id, credits=entry.reserved)

    async def adjusted_before(self, user: User, asked: Adjustment, now: datetime) -> Account | None:
        """None when it was not. Raises AdjustmentIdReused when the id stands for something else."""
        wanted = asked.entry(user.user_id, now)
        made = await self._ledger.find(user.user_id, wanted.entry_id, now)
        return None if made is None else await self._adjusted(user, wanted, made)

    async def adjust(self, user: User, asked: Adjustment, now: datetime) -> Account:
        """Give credits to the running month, or take some: once, however often it is asked.

        Raises CreditsSpent when less would be left than the month has spent and reserved, and
        AdjustmentIdReused when the id stands for something else.
        """
        wanted = asked.entry(user.user_id, now)
        try:
            entry = await self._ledger.adjust(wanted, self._rules.limit_of(user))
        except CreditsExhausted as failure:
            raise CreditsSpent("The month has spent or reserved what should be taken.") from failure
        account = await self._adjusted(user, wanted, entry)
        if entry.at == now:
            log.info(
                "credits_adjusted",
                subject_id=user.user_id,
                adjustment_id=asked.adjustment_id,
                credits=asked.amount,
            )
        return account

    async def _adjusted(self, user: User, wanted: Entry, made: Entry) -> Account:
        if (made.charged, made.reason) != (wanted.charged, wanted.reason):
            raise AdjustmentIdReused("This adjustment was made before, with another amount or reason.")
        return self._account(user, await self._ledger.balance(user.user_id, made.period))

    async def return_expired(self, now: datetime) -> int:
        """How many reservations were given back because nobody settled or released them."""
        expired = await self._ledger.sweep(now)
        for entry in expired:
            RESERVATIONS.labels("expired").inc()
            log.warning("reservation_expired", performance_id=entry.entry_id, credits=entry.reserved)
        return len(expired)


# Who forgets one reads it again.
_OPENED_AT_MOST = 1_000


@dataclass(frozen=True, slots=True)
class _Reservation:
    entry: Entry
    user: User


class _Opened:
    """Reservations of this process that have not ended, the newest of them: a hint, the ledger decides."""

    def __init__(self) -> None:
        self._reservations: OrderedDict[str, _Reservation] = OrderedDict()

    def add(self, entry: Entry, user: User) -> None:
        self._reservations[entry.entry_id] = _Reservation(entry, user)
        if len(self._reservations) > _OPENED_AT_MOST:
            self._reservations.popitem(last=False)

    def take(self, performance_id: str) -> _Reservation | None:
        return self._reservations.pop(performance_id, None)
