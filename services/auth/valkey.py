"""Counts failed attempts to sign in, in Valkey. Losing them costs patience, never truth."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.auth.domain.errors import AttemptsUnavailable
from services.auth.domain.slowdown import Counted

# A login takes tens of milliseconds anyway; beyond this it goes on without the cache.
SECONDS = 0.25
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Answers how long the slowest of the keys has to wait; when none has to, the attempt counts as failed
# for all of them. In one script: no two attempts see the same count. One whose answer was lost is asked
# again, and must not wait for itself.
_BEGIN = """
local now, lasts, attempt = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local counts, wait = {}, 0
for i, key in ipairs(KEYS) do
  local kept = redis.call('HMGET', key, 'failures', 'at', 'attempt')
  if kept[3] == attempt then return 0 end
  local failures, at = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
  if now - at > lasts then failures = 0 end
  local pauses = cjson.decode(ARGV[i + 3])
  local pause = pauses[math.min(failures + 1, #pauses)]
  -- Attempts that run at once arrive out of order: without a pause there is nothing to wait for.
  if pause > 0 then wait = math.max(wait, at + pause - now) end
  counts[i] = failures + 1
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, 'failures', counts[i], 'at', now, 'attempt', attempt)
  redis.call('PEXPIRE', key, lasts)
end
return 0
"""

_TAKE_BACK = """
for _, key in ipairs(KEYS) do
  if tonumber(redis.call('HGET', key, 'failures') or 0) > 0 then
    redis.call('HINCRBY', key, 'failures', -1)
  end
end
"""


class ValkeyAttempts:
    def __init__(self, valkey: Redis, lasts: timedelta, prefix: str) -> None:
        self._valkey = valkey
        # After this long without a failure all is forgotten.
        self._lasts = _milliseconds(lasts)
        self._prefix = prefix

    async def begin(self, counted: Sequence[Counted], now: datetime) -> timedelta:
        pauses = [json.dumps([_milliseconds(wait) for wait in each.patience.pauses()]) for each in counted]
        attempt = uuid4().hex
        wait = await self._run(_BEGIN, counted, _milliseconds(now - _EPOCH), self._lasts, attempt, *pauses)
        return timedelta(milliseconds=int(wait))

    async def take_back(self, counted: Sequence[Counted], forgotten: Sequence[Counted]) -> None:
        if counted:
            await self._run(_TAKE_BACK, counted)
        if forgotten:
            try:
                await self._valkey.delete(*self._keys(forgotten))
            except (RedisError, OSError) as error:
                raise AttemptsUnavailable("Failed attempts cannot be counted.") from error

    async def _run(self, script: str, counted: Sequence[Counted], *arguments: str | int) -> Any:
        keys = self._keys(counted)
        try:
            return await self._valkey.eval(script, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise AttemptsUnavailable("Failed attempts cannot be counted.") from error

    def _keys(self, counted: Sequence[Counted]) -> list[str]:
        return [f"{self._prefix}:attempts:{each.key}" for each in counted]


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
