"""Who somebody is by name and password."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import User
from services.auth.domain.errors import CredentialsInvalid
from services.auth.ports import Passwords, Users
from services.auth.usecases.slowdown import Slowdown

log = structlog.get_logger()

FAILURES = Counter("auth_credentials_refused_total", "Unknown names, wrong passwords, disabled users.")


@dataclass(frozen=True, slots=True)
class Credentials:
    users: Users
    passwords: Passwords
    slowdown: Slowdown

    async def owner(self, name: str, password: str, address: str, now: datetime) -> User:
        """Unknown, disabled and mistyped fail alike, in text and in time.

        Raises CredentialsInvalid, and SignInSlowed after too many of those. A hash that was made in
        another way than today's is replaced.
        """
        async with self.slowdown.attempt(name, address, now):
            user = await self.users.named(name)
            verdict = await self.passwords.verify(password, user.password_hash if user else None)
            if user is None or not verdict.matches or user.disabled:
                FAILURES.inc()
                log.info("login_failed", login_user_id=user.user_id if user else "")
                raise CredentialsInvalid("The username or the password is wrong.")
        if verdict.outdated and user.password_hash is not None:
            fresh = await self.passwords.hash(password)
            await self.users.replace_hash(user.user_id, user.password_hash, fresh)
            log.info("password_rehashed", login_user_id=user.user_id)
        return user
