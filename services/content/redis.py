"""Remembers in Valkey which notes each user was given lately, and thoughts for a short while.

Losing it costs variety and time, never truth.
"""

import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import astuple
from hashlib import sha256
from typing import Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as Silence

from services.content.domain import RecentNotesUnavailable, Rest, ThoughtsUnavailable
from services.content.erasures import MARKED_SECONDS, mark_of
from services.content.ports import Question, Thought

T = TypeVar("T")

# For each user. Whoever is given more notes than this in a month may meet the oldest again.
KEPT: Final = 500
KEPT_SECONDS: Final = 30 * 86_400
MOST_THOUGHTS: Final = 100
_NONCE_BYTES: Final = 12

# Adds a note unless it is there, and returns whether it was new. Atomic: of two callers, one wins. Asked
# twice when the first answer was lost, it finds what it added itself, at the very moment that it asks with.
# Of a user who was just erased nothing is remembered.
_CLAIM: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
local given = redis.call('ZSCORE', KEYS[1], ARGV[1])
if given then return tonumber(given) == tonumber(ARGV[2]) and 1 or 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""
# The first thought decides when all of a user's go, so none is kept for longer than the limit.
_KEEP: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4], 'NX')
return 1
"""


class ValkeyRecentNotes:
    def __init__(self, valkey: Redis, now: Callable[[], float] = time.time) -> None:
        self._valkey = valkey
        self._now = now
        self._claim = valkey.register_script(_CLAIM)
        self._rest = Rest()

    async def of(self, user_id: str) -> frozenset[str]:
        since = self._now() - KEPT_SECONDS
        kept = await self._asked(lambda: self._valkey.zrangebyscore(_notes(user_id), since, "+inf"))
        return frozenset(map(str, kept))

    async def claim(self, user_id: str, fingerprint: str) -> bool:
        now = self._now()
        arguments: list[str | float] = [fingerprint, now, now - KEPT_SECONDS, KEPT, KEPT_SECONDS]
        return bool(
            await self._asked(lambda: self._claim(keys=[_notes(user_id), mark_of(user_id)], args=arguments))
        )

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """A performer waits for this, so a Valkey that is silent is found out twice and not every time."""
        if not self._rest.over(self._now()):
            raise RecentNotesUnavailable("Valkey did not answer lately.")
        asked = self._rest.asked(self._now())
        try:
            found = await ask()
        except Silence as error:
            self._rest.failed(asked, self._now())
            raise RecentNotesUnavailable("Valkey does not answer.") from error
        except (RedisError, OSError) as error:
            # It was told at once.
            self._rest.answered()
            raise RecentNotesUnavailable("Valkey cannot be asked.") from error
        self._rest.answered()
        return found

    async def forget(self, user_id: str) -> int:
        pipeline = self._valkey.pipeline(transaction=True)
        pipeline.set(mark_of(user_id), "", ex=MARKED_SECONDS)
        pipeline.zcard(_notes(user_id))
        pipeline.delete(_notes(user_id))
        try:
            _, remembered, _ = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise RecentNotesUnavailable("Recent notes cannot be erased.") from error
        return int(remembered)


class ValkeyThoughts:
    """One hash for each user, so that one deletion erases a user.

    Neither names nor contents can be read there: a thought is found by a digest of its question and
    sealed with a key made of the same question, which is kept nowhere.
    """

    def __init__(self, valkey: Redis, seconds: int) -> None:
        self._valkey = valkey
        self._seconds = seconds
        self._keep = valkey.register_script(_KEEP)

    async def find(self, question: Question) -> Thought | None:
        try:
            kept = await self._valkey.hget(_thoughts(question.user_id), _digest("name", question).hex())
        except (RedisError, OSError) as error:
            raise ThoughtsUnavailable("Thoughts cannot be read.") from error
        return _opened(str(kept), question) if kept else None

    async def keep(self, question: Question, thought: Thought) -> None:
        name, sealed = _digest("name", question).hex(), _sealed(thought, question)
        arguments: list[str | int] = [name, sealed, MOST_THOUGHTS, self._seconds]
        try:
            await self._keep(keys=[_thoughts(question.user_id), mark_of(question.user_id)], args=arguments)
        except (RedisError, OSError) as error:
            raise ThoughtsUnavailable("Thoughts cannot be kept.") from error

    async def forget(self, user_id: str) -> int:
        pipeline = self._valkey.pipeline(transaction=True)
        pipeline.set(mark_of(user_id), "", ex=MARKED_SECONDS)
        pipeline.hlen(_thoughts(user_id))
        pipeline.delete(_thoughts(user_id))
        try:
            _, kept, _ = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise ThoughtsUnavailable("Thoughts cannot be erased.") from error
        return int(kept)


def _notes(user_id: str) -> str:
    return f"content:notes:{user_id}"


def _thoughts(user_id: str) -> str:
    return f"content:thoughts:{user_id}"


def _digest(purpose: str, question: Question) -> bytes:
    # As JSON, so that no two questions run together into one.
    return sha256(json.dumps([purpose, *astuple(question)]).encode()).digest()


def _sealed(thought: Thought, question: Question) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    plain = json.dumps([thought.text, thought.model]).encode()
    return b64encode(nonce + AESGCM(_digest("key", question)).encrypt(nonce, plain, None)).decode()


def _opened(sealed: str, question: Question) -> Thought | None:
    """None for what this release cannot open: it is written anew."""
    raw = b64decode(sealed)
    try:
        text, model = json.loads(
            AESGCM(_digest("key", question)).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
        )
    except (InvalidTag, ValueError):
        return None
    return Thought(text, model)
