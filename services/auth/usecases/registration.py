"""Becoming a user: an activation code is spent for one user, by one registration."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import User, shown_name
from services.auth.domain.errors import ActivationCodeInvalid, EmailTaken, StorageUnavailable, UsernameTaken
from services.auth.domain.passwords import PasswordRules
from services.auth.ports import Codes, Passwords, Users

log = structlog.get_logger()

REGISTRATIONS = Counter("auth_registrations_total", "Users made.")

# From the claim to the new user is one write; a claim that lasts longer belongs to a dead process.
CLAIM_LASTS = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Application:
    username: str
    email: str
    password: str
    code: str
    shortest_password: int


class Registrations:
    def __init__(
        self,
        users: Users,
        codes: Codes,
        passwords: Passwords,
        rules: PasswordRules,
        new_id: Callable[[], UUID],
    ) -> None:
        self._rules = rules
        self._users = users
        self._codes = codes
        self._passwords = passwords
        self._new_id = new_id

    async def register(self, asked: Application, now: datetime) -> User:
        """Make a user; when that fails, the code is as good as before."""
        self._rules.require_good(asked.password, asked.shortest_password, (asked.username, asked.email))
        if not await self.would_accept(asked.code, now):
            raise ActivationCodeInvalid("The activation code is not valid.")
        user = User(
            user_id=str(self._new_id()),
            username=shown_name(asked.username),
            email=asked.email,
            password_hash=await self._passwords.hash(asked.password),
            created_at=now,
            activation_code=asked.code,
        )
        await self._spend(asked.code, user, now)
        REGISTRATIONS.inc()
        log.info("user_registered", user_id=user.user_id)
        return user

    async def _spend(self, code: str, user: User, now: datetime) -> None:
        try:
            if not await self._codes.claim(code, user.user_id, now, now + CLAIM_LASTS):
                raise ActivationCodeInvalid("The activation code is not valid.")
            await self._users.add(user)
        except (UsernameTaken, EmailTaken, StorageUnavailable, asyncio.CancelledError):
            # If the user was written all the same, nobody else can be with this code.
            await asyncio.shield(_if_possible(self._codes.give_back(code, user.user_id, now)))
            raise
        # Whoever looks at the code next makes up for it.
        await _if_possible(self._codes.mark_used(code, user.user_id, now))

    async def would_accept(self, code: str, now: datetime) -> bool:
        """Also sees a code whose user was made by a process that died before it could note so."""
        if not await self._codes.claimable(code, now):
            return False
        made = await self._users.made_by(code)
        if made is not None:
            await self._codes.mark_used(code, made.user_id, now)
        return made is None


async def _if_possible(change: Coroutine[Any, Any, None]) -> None:
    try:
        await change
    except StorageUnavailable as error:
        log.warning("activation_code_not_noted", cause=error.reason)
