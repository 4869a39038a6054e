"""Builds the service from its settings: for the server, and for the command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from services.auth.factors import read_factors
from services.auth.mongo import Database, open_database
from services.auth.passwords import Argon2Cost, Argon2Passwords
from services.auth.rpc import UseCases
from services.auth.settings import Settings
from services.auth.tokens import JwtAccessTokens, KeyRing
from services.auth.usecases.credits import CreditRules, Credits
from services.auth.usecases.login import Lifetimes, Logins, TokenMakers
from services.auth.usecases.registration import Registrations
from services.auth.vault import HmacRefreshTokens, Seal, read_key


@dataclass(frozen=True, slots=True)
class Built:
    database: Database
    makers: TokenMakers
    ask: UseCases


def clock() -> datetime:
    """Now, as exactly as the store keeps it: what is written compares equal to what is read back."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Built]:
    key = read_key(settings.key_file)
    factors = read_factors(settings.cost_factors_file)
    url, name, size = settings.mongo_url, settings.database, settings.mongo_pool_size
    async with open_database(url, name, size) as database:
        keys = KeyRing(database.keys, Seal(key), uuid4)
        await keys.open(clock())
        cost = Argon2Cost(settings.argon2_memory_kib, settings.argon2_time_cost, settings.argon2_parallelism)
        passwords = Argon2Passwords(cost, settings.password_threads, settings.password_queue)
        with closing(passwords):
            makers = _makers(settings, keys, key)
            rules = CreditRules(
                factors, settings.monthly_limit, timedelta(seconds=settings.reservation_seconds)
            )
            ask = UseCases(
                Registrations(database.users, database.codes, passwords, uuid4),
                Logins(database.users, database.sessions, passwords, makers, uuid4),
                Credits(database.users, database.ledger, rules),
                database.users,
                keys,
            )
            yield Built(database, makers, ask)


def _makers(settings: Settings, keys: KeyRing, key: bytes) -> TokenMakers:
    lives = Lifetimes(
        settings.access_token_lives,
        settings.session_lives,
        timedelta(seconds=settings.refresh_grace_seconds),
    )
    access = JwtAccessTokens(keys, settings.token_issuer, settings.token_audience, uuid4)
    return TokenMakers(access, HmacRefreshTokens(key), lives)
