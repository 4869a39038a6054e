"""Makes guessing slow: who keeps failing waits longer each time, by account and by address."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import name_key
from services.auth.domain.errors import (
    ActivationCodeInvalid,
    AttemptsUnavailable,
    CredentialsInvalid,
    SignInSlowed,
)
from services.auth.domain.slowdown import Counted, Patience
from services.auth.ports import Attempts
from services.kernel.errors import ServiceError

log = structlog.get_logger()

SLOWED = Counter("auth_sign_ins_slowed_total", "Attempts refused after too many failures.")
UNCOUNTED = Counter("auth_sign_ins_uncounted_total", "Attempts let through because the cache was down.")


@dataclass(frozen=True, slots=True)
class Slowdown:
    attempts: Attempts
    account: Patience
    address: Patience

    @asynccontextmanager
    async def attempt(self, name: str, address: str, now: datetime) -> AsyncIterator[None]:
        """Around one try with a secret. Raises SignInSlowed.

        It counts as failed from its beginning, so that a thousand tries at once are not free. When
        it ends well, the account's failures are forgotten; when it ends without a verdict, it was none.
        """
        by_account = Counted(_key("account", name_key(name)), self.account)
        by_address = [Counted(_key("address", _network(address)), self.address)] if address else []
        if not await self._begun([by_account, *by_address], now):
            yield
            return
        try:
            yield
        except (CredentialsInvalid, ActivationCodeInvalid):
            raise
        except ServiceError:
            await self._took_back([by_account, *by_address], forgotten=())
            raise
        await self._took_back(by_address, forgotten=[by_account])

    async def _begun(self, counted: Sequence[Counted], now: datetime) -> bool:
        try:
            wait = await self.attempts.begin(counted, now)
        except AttemptsUnavailable:
            # Nobody is kept from performing because a cache is down.
            UNCOUNTED.inc()
            log.warning("sign_in_not_counted")
            return False
        if wait > timedelta(0):
            SLOWED.inc()
            log.info("sign_in_slowed", wait_seconds=round(wait.total_seconds(), 1))
            raise SignInSlowed(wait)
        return True

    async def _took_back(self, counted: Sequence[Counted], forgotten: Sequence[Counted]) -> None:
        try:
            await self.attempts.take_back(counted, forgotten)
        except AttemptsUnavailable:
            UNCOUNTED.inc()
            log.warning("sign_in_not_counted")


def _key(kind: str, name: str) -> str:
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _network(address: str) -> str:
    """One customer has a whole /64 of IPv6 addresses."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
