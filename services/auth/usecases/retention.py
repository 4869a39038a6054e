"""Removes what has been kept for as long as it is to be kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import ROLE_USER, User
from services.auth.domain.erasure import AskedBy
from services.auth.ports import Aging, ApiKeys, Sessions, Users
from services.auth.usecases.erasure import Erasures

log = structlog.get_logger()

RETIRED = Counter("auth_retired_total", "What was removed at the end of its retention.", ["what"])

# Taken up by one round; the next round takes the others.
_ACCOUNTS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """For how long each is kept; what is None is kept for ever."""

    # After they ended.
    sessions: timedelta
    audit_entries: timedelta | None
    credit_entries: timedelta | None
    # After their last use.
    unused_accounts: timedelta | None


class Retention:
    """Any replica may run it, any number of times: what is gone is gone."""

    def __init__(
        self,
        aging: Aging,
        users: Users,
        sessions: Sessions,
        api_keys: ApiKeys,
        rules: RetentionRules,
    ) -> None:
        self._aging = aging
        self._users = users
        self._sessions = sessions
        self._api_keys = api_keys
        self._rules = rules

    async def enforce(self, erasures: Erasures, now: datetime, seconds: float) -> None:
        """One round."""
        rules = self._rules
        self._tell("sessions", await self._aging.drop_sessions(now - rules.sessions))
        if rules.audit_entries:
            self._tell("audit_entries", await self._aging.drop_audit_entries(now - rules.audit_entries))
        if rules.credit_entries:
            self._tell("credit_entries", await self._aging.drop_credit_entries(now - rules.credit_entries))
        if rules.unused_accounts:
            await self._drop_accounts(erasures, now - rules.unused_accounts, now, seconds)

    async def _drop_accounts(
        self, erasures: Erasures, unseen_since: datetime, now: datetime, seconds: float
    ) -> None:
        for user in await self._users.unseen(unseen_since, _ACCOUNTS_AT_ONCE):
            # Whoever runs the place is never erased by a clock.
            used_at = await self._used_at(user, now) if user.roles == (ROLE_USER,) else now
            if used_at > unseen_since:
                await self._users.note_seen(user.user_id, used_at)
                continue
            erasure = await erasures.begin(user.user_id, AskedBy.RETENTION, now, seconds)
            self._tell("accounts", 1)
            log.info("unused_account_erased", erasure_id=erasure.erasure_id)

    async def _used_at(self, user: User, now: datetime) -> datetime:
        """Sessions and keys are used without signing in."""
        keys = await self._api_keys.of_user(user.user_id, now)
        sessions = await self._sessions.of(user.user_id, now, 100)
        uses = [key.last_used_at for key in keys] + [session.last_used_at for session in sessions]
        return max((used for used in uses if used), default=user.created_at)

    def _tell(self, what: str, count: int) -> None:
        if count:
            RETIRED.labels(what).inc(count)
            log.info("retention_enforced", what=what, count=count)
