"""A new password for whoever holds an unused activation code."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import ROLE_USER, User
from services.auth.domain.audit import Actor
from services.auth.domain.errors import ActivationCodeInvalid
from services.auth.domain.passwords import PasswordRules
from services.auth.ports import ApiKeys, Codes, Passwords, Sessions, Users
from services.auth.usecases.audit import AuditLog, Change
from services.auth.usecases.slowdown import Slowdown

log = structlog.get_logger()

# Nobody is signed in: all that is known of who asks is what they hold.
_HOLDER = "activation-code"

RESETS = Counter("auth_password_resets_total", "Password resets, by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True)
class ResetRequest:
    email: str
    code: str
    password: str
    shortest_password: int
    # Empty when unknown.
    address: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a reset reads and changes."""

    users: Users
    codes: Codes
    sessions: Sessions
    api_keys: ApiKeys


class PasswordResets:
    def __init__(
        self, accounts: Accounts, passwords: Passwords, rules: PasswordRules, audit: AuditLog
    ) -> None:
        self._in = accounts
        self._passwords = passwords
        self._rules = rules
        self._audit = audit

    async def reset(self, asked: ResetRequest, slowdown: Slowdown, now: datetime) -> None:
        """Set the password, once for each code, and end all sessions and API keys.

        Unknown emails and bad codes fail alike, after the same work. What died in the middle is
        finished by asking again. Who holds the code need not be the user: the audit log tells of each.
        """
        self._rules.require_good(asked.password, asked.shortest_password, (asked.email,))
        async with slowdown.attempt(asked.email, asked.address, now):
            user = await self._entitled(asked, now)
            fresh = await self._passwords.hash(asked.password)
            try:
                await self._set(user, fresh, asked, now)
            except ActivationCodeInvalid:
                RESETS.labels("refused").inc()
                log.info("password_reset_refused", reset_user_id=user.user_id if user else "")
                raise
        RESETS.labels("succeeded").inc()

    async def _entitled(self, asked: ResetRequest, now: datetime) -> User | None:
        user = await self._in.users.named(asked.email) if "@" in asked.email else None
        made = await self._in.users.made_by(asked.code)
        if made is not None:
            # The process that made this user died before it could note so.
            await self._in.codes.mark_used(asked.code, made.user_id, now)
            return None
        return user if user is not None and _resettable(user) else None

    async def _set(self, user: User | None, fresh: str, asked: ResetRequest, now: datetime) -> None:
        spent = await self._in.codes.spend(asked.code, user.user_id if user else None, now)
        if not spent or user is None:
            raise _refusal()
        actor, change = Actor(_HOLDER, asked.request_id), Change("password_reset", user.user_id, {})
        async with self._audit.recorded(actor, change, now):
            if not await self._in.users.reset_password(user.user_id, fresh, asked.code, now):
                raise _refusal()
            # Both are over already, by the change above; this is for the lists.
            await self._in.sessions.revoke_all(user.user_id, "password_reset", now)
            await self._in.api_keys.delete_all(user.user_id)
        log.info("password_reset", reset_user_id=user.user_id)


def _refusal() -> ActivationCodeInvalid:
    return ActivationCodeInvalid("The email or the activation code is not valid.")


def _resettable(user: User) -> bool:
    """Codes are handed to future users: none may open the account of who runs the place."""
    return not user.disabled and user.password_hash is not None and user.roles == (ROLE_USER,)
