"""Argon2id in a bounded pool of threads: hashing takes tens of milliseconds and megabytes.

Hashes that bcrypt made before are good for one more login, which replaces them.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from prometheus_client import Histogram

from services.auth.domain.errors import PasswordsBusy
from services.auth.ports import Verdict

HASH_SECONDS = Histogram(
    "auth_password_seconds",
    "Time to hash or verify a password, with the wait for a thread.",
    buckets=(0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)

_BCRYPT = ("$2a$", "$2b$", "$2y$")
# bcrypt never looked further; today's package refuses what it would ignore.
_BCRYPT_BYTES = 72

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    memory_kib: int
    time_cost: int
    parallelism: int


class Argon2Passwords:
    def __init__(self, cost: Argon2Cost, threads: int, queue: int) -> None:
        self._hasher = PasswordHasher(cost.time_cost, cost.memory_kib, cost.parallelism)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._room = threads + queue
        # Compared with when there is no user, so that unknown names take as long as known ones.
        self._nobody = self._hasher.hash(token_urlsafe())

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password: str, known: str | None) -> Verdict:
        if known is not None and known.startswith(_BCRYPT):
            return await self._run(lambda: _old_verdict(password, known))
        return await self._run(lambda: self._verdict(_normal(password), known))

    def _verdict(self, password: str, known: str | None) -> Verdict:
        try:
            self._hasher.verify(known or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return Verdict(matches=False)
        if known is None:
            return Verdict(matches=False)
        return Verdict(matches=True, outdated=self._hasher.check_needs_rehash(known))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room == 0:
            raise PasswordsBusy("Too many people are signing in right now.")
        self._room -= 1
        try:
            with HASH_SECONDS.time():
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1


def _old_verdict(password: str, known: str) -> Verdict:
    """The old hashes were made of the password as it was typed."""
    try:
        matches = bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], known.encode())
    except ValueError:
        matches = False
    return Verdict(matches, outdated=matches)


def _normal(password: str) -> str:
    """The same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password)
