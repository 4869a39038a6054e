"""A new password for whoever holds an unused activation code."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import ROLE_USER, User
from services.auth.domain.errors import ActivationCodeInvalid
from services.auth.domain.passwords import PasswordRules
from services.auth.ports import Codes, Passwords, Sessions, Users
from services.auth.usecases.slowdown import Slowdown

log = structlog.get_logger()

RESETS = Counter("auth_password_resets_total", "Password resets, by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True)
class ResetRequest:
    email: str
    code: str
    password: str
    shortest_password: int
    # Empty when unknown.
    address: str


class PasswordResets:
    def __init__(
        self, users: Users, codes: Codes, sessions: Sessions, passwords: Passwords, rules: PasswordRules
    ) -> None:
        self._users = users
        self._codes = codes
        self._sessions = sessions
        self._passwords = passwords
        self._rules = rules

    async def reset(self, asked: ResetRequest, slowdown: Slowdown, now: datetime) -> None:
        """Set the password, once for each code, and end all sessions.

        Unknown emails and bad codes fail alike, after the same work. What died in the middle is
        finished by asking again.
        """
        self._rules.require_good(asked.password, asked.shortest_password, (asked.email,))
        async with slowdown.attempt(asked.email, asked.address, now):
            user = await self._entitled(asked, now)
            fresh = await self._passwords.hash(asked.password)
            if not await self._done(asked.code, user, fresh, now):
                RESETS.labels("refused").inc()
                log.info("password_reset_refused", reset_user_id=user.user_id if user else "")
                raise ActivationCodeInvalid("The email or the activation code is not valid.")
        RESETS.labels("succeeded").inc()

    async def _entitled(self, asked: ResetRequest, now: datetime) -> User | None:
        user = await self._users.named(asked.email) if "@" in asked.email else None
        made = await self._users.made_by(asked.code)
        if made is not None:
            # The process that made this user died before it could note so.
            await self._codes.mark_used(asked.code, made.user_id, now)
            return None
        return user if user is not None and _resettable(user) else None

    async def _done(self, code: str, user: User | None, fresh: str, now: datetime) -> bool:
        spent = await self._codes.spend(code, user.user_id if user else None, now)
        if not spent or user is None:
            return False
        if not await self._users.reset_password(user.user_id, fresh, code, now):
            return False
        await self._sessions.revoke_all(user.user_id, "password_reset", now)
        log.info("password_reset", reset_user_id=user.user_id)
        return True


def _resettable(user: User) -> bool:
    """Codes are handed to future users: none may open the account of who runs the place."""
    return not user.disabled and user.password_hash is not None and user.roles == (ROLE_USER,)
