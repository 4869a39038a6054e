"""Builds the service from its settings: for the server, and for the command line."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from redis.asyncio import Redis

from services.auth.breaches import read_breached
from services.auth.domain.api_keys import RANDOM_BYTES
from services.auth.domain.passwords import PasswordRules
from services.auth.domain.signing_keys import KeyTimes
from services.auth.domain.slowdown import Patience
from services.auth.factors import read_factors
from services.auth.keyring import KeyRing
from services.auth.mongo import Database, open_database
from services.auth.passwords import Argon2Cost, Argon2Passwords
from services.auth.plans import read_plans
from services.auth.rpc import SessionAccess, UseCases, asked_by, made_by
from services.auth.schema import SCHEMA
from services.auth.settings import Settings
from services.auth.tokens import JwtAccessTokens
from services.auth.usecases.administration import Administration, Subjects
from services.auth.usecases.api_keys import KeyAccess, Owners
from services.auth.usecases.audit import AuditLog
from services.auth.usecases.codes import CodeBatches
from services.auth.usecases.credentials import Credentials
from services.auth.usecases.credits import CreditRules, Credits
from services.auth.usecases.login import Lifetimes, Logins, TokenMakers
from services.auth.usecases.registration import Registrations
from services.auth.usecases.reset import Accounts, PasswordResets
from services.auth.usecases.slowdown import Slowdown
from services.auth.valkey import SECONDS, ValkeyAttempts
from services.auth.vault import HmacRefreshTokens, Seal, derived, read_key
from services.kernel.answers import Contents, KeptAnswers, Secrets
from services.kernel.cache import cache_client
from services.kernel.clock import clock
from services.kernel.schema import bring_up_to_date

# Longer than any call whose answer is kept may take.
_LONGEST_ANSWER = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Built:
    database: Database
    makers: TokenMakers
    ask: UseCases
    sessions: SessionAccess
    credentials: Credentials
    replays: KeptAnswers


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Built]:
    key = read_key(settings.key_file)
    factors = read_factors(settings.cost_factors_file)
    plans = read_plans(settings.plans_file, factors, settings.monthly_limit)
    password_rules = PasswordRules(read_breached(settings.breached_passwords_file))
    url, name, size = settings.mongo_url, settings.database, settings.mongo_pool_size
    cache = cache_client(str(settings.valkey_url), SECONDS, connections=16)
    await bring_up_to_date(url, name, SCHEMA)
    async with open_database(url, name, size) as database, cache as valkey:
        times = KeyTimes(timedelta(seconds=settings.key_publish_seconds), settings.access_token_lives)
        keys = KeyRing(database.keys, Seal(key), times, uuid4)
        await keys.open(clock())
        cost = Argon2Cost(settings.argon2_memory_kib, settings.argon2_time_cost, settings.argon2_parallelism)
        passwords = Argon2Passwords(cost, settings.password_threads, settings.password_queue)
        with closing(passwords):
            access = JwtAccessTokens(keys, settings.token_issuer, settings.token_audience, uuid4)
            makers = TokenMakers(access, HmacRefreshTokens(key), _lifetimes(settings), _new_secret)
            rules = CreditRules(plans, timedelta(seconds=settings.reservation_seconds))
            registrations = Registrations(database.users, database.codes, passwords, password_rules, uuid4)
            slowdown = _slowdown(settings, valkey)
            credentials = Credentials(database.users, passwords, slowdown)
            ledger = Credits(database.users, database.ledger, rules)
            owners = Owners(database.users, database.sessions)
            audit = AuditLog(database.audit, uuid4)
            ask = UseCases(
                registrations=registrations,
                logins=Logins(database.users, database.sessions, credentials, makers, uuid4),
                credits=ledger,
                users=database.users,
                keys=keys,
                key_access=KeyAccess(owners, database.api_keys, access, uuid4, _new_secret),
                administration=Administration(
                    Subjects(database.users, database.sessions, database.api_keys, ledger),
                    audit,
                ),
                codes=CodeBatches(database.codes, audit, uuid4),
                audit=audit,
            )
            accounts = Accounts(database.users, database.codes, database.sessions, database.api_keys)
            resets = PasswordResets(accounts, passwords, password_rules, audit)
            sessions = SessionAccess(database.users, database.sessions, resets, slowdown)
            replays = answers_of(database, key, clock)
            yield Built(database, makers, ask, sessions, credentials, replays)


def answers_of(database: Database, key: bytes, now: Callable[[], datetime]) -> KeptAnswers:
    secrets = Secrets(Seal(key), derived(key, "replay-reference"))
    return KeptAnswers(
        database.answers, secrets, _LONGEST_ANSWER, now, Contents(made=made_by, stranger=asked_by)
    )


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        settings.access_token_lives,
        settings.session_lives,
        timedelta(seconds=settings.refresh_grace_seconds),
    )


def _slowdown(settings: Settings, valkey: Redis) -> Slowdown:
    longest = timedelta(seconds=settings.slowdown_longest_seconds)
    lasts = timedelta(seconds=settings.slowdown_lasts_seconds)
    return Slowdown(
        # Accounts of another database are other accounts, also in the same cache.
        ValkeyAttempts(valkey, lasts, settings.database),
        Patience(settings.slowdown_account_failures, longest),
        Patience(settings.slowdown_address_failures, longest),
    )


def _new_secret() -> str:
    return secrets.token_urlsafe(RANDOM_BYTES)
