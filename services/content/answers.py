"""What thoughts were, for who asks again under the same Idempotency-Key: in Valkey, as long as that keeps it.

Losing it costs a model's answer, never truth: without the cache a key counts as new.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.content.domain import AnswersUnavailable
from services.content.erasures import MARKED_SECONDS, mark_of
from services.kernel.replay import Attempt, Earlier

log = structlog.get_logger()

_LIVES: Final = timedelta(hours=24)
# Longer than any of these calls may take: then whoever had the key is gone.
_LONGEST: Final = timedelta(seconds=20)
_NONCE_BYTES: Final = 12

# Takes the key, or answers what the one who has it asked and was told. A key is listed before its answer is
# there: none may be kept that an erasure does not find. Of a user who was just erased nothing is kept.
_CLAIM: Final = """
if redis.call('EXISTS', KEYS[3]) == 1 then return {} end
local held = redis.call('HMGET', KEYS[1], 'attempt', 'request', 'answer', 'until', 'expires')
-- Asked twice when the first answer was lost.
if held[1] == ARGV[1] then return {} end
local now = tonumber(ARGV[3])
if held[1] and tonumber(held[5]) > now and (held[3] or tonumber(held[4]) > now) then
  return {held[2], held[3] or ''}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[5], KEYS[1])
redis.call('EXPIRE', KEYS[2], ARGV[6])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'attempt', ARGV[1], 'request', ARGV[2], 'until', ARGV[4], 'expires', ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[6])
return {}
"""
_KEEP: Final = """
if redis.call('HGET', KEYS[1], 'attempt') == ARGV[1] then redis.call('HSET', KEYS[1], 'answer', ARGV[2]) end
"""
_FREE: Final = """
if redis.call('HGET', KEYS[1], 'attempt') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class ValkeyAnswers:
    """Implements the kernel's Replays. An answer is sealed with a key made of the client's own and the
    request, neither of which is kept anywhere."""

    def __init__(self, valkey: Redis, now: Callable[[], datetime]) -> None:
        self._valkey = valkey
        self._now = now
        self._claim = valkey.register_script(_CLAIM)
        self._keep = valkey.register_script(_KEEP)
        self._free = valkey.register_script(_FREE)

    async def claim(self, attempt: Attempt) -> Earlier | None:
        now, request = self._now(), _digest("request", attempt).hex()
        moments = [each.timestamp() for each in (now, now + _LONGEST, now + _LIVES)]
        lives = round(_LIVES.total_seconds())
        held = await _reached(self._claim, attempt, request, *moments, lives)
        if not held:
            return None
        same, sealed = held[0] == request, held[1]
        return Earlier(same, _opened(sealed, attempt) if same and sealed else None)

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + AESGCM(_digest("key", attempt)).encrypt(nonce, answer, None)
        await _reached(self._keep, attempt, b64encode(sealed).decode())

    async def free(self, attempt: Attempt) -> None:
        await _reached(self._free, attempt)

    async def forget(self, user_id: str) -> int:
        """Erase what is kept for a user; how many keys that were. Raises AnswersUnavailable."""
        listed = _list_of(user_id)
        try:
            await self._valkey.set(mark_of(user_id), "", ex=MARKED_SECONDS)
            places = await self._valkey.zrange(listed, 0, -1)
            return int(await self._valkey.delete(listed, *places)) - 1 if places else 0
        except (RedisError, OSError) as error:
            raise AnswersUnavailable("Kept answers cannot be erased.") from error


async def _reached(script: Any, attempt: Attempt, *arguments: str | float) -> Any:
    try:
        places = [_place(attempt), _list_of(attempt.user_id), mark_of(attempt.user_id)]
        return await script(keys=places, args=[attempt.attempt_id, *arguments])
    except (RedisError, OSError) as error:
        log.warning("answers_unavailable", method=attempt.method, cause=type(error).__name__)
        return None


def _place(attempt: Attempt) -> str:
    return f"content:answers:{_joined(attempt.user_id, attempt.method, attempt.key).hex()}"


def _list_of(user_id: str) -> str:
    return f"content:answers-of:{user_id}"


def _digest(purpose: str, attempt: Attempt) -> bytes:
    return _joined(purpose, attempt.user_id, attempt.method, attempt.key, attempt.request.hex())


def _joined(*parts: str) -> bytes:
    # As JSON, so that no two lists run together into one.
    return sha256(json.dumps(parts).encode()).digest()


def _opened(sealed: str, attempt: Attempt) -> bytes:
    raw = b64decode(sealed)
    return AESGCM(_digest("key", attempt)).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
