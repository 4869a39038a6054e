"""Who performs, now and of late, in Valkey. Whatever replicas change together, a script changes at once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.voice.domain import PinsUnavailable
from services.voice.policy import Demand, Habit, Rules, asked
from services.voice.slots import Reuse, Standing

_PINNED_AMONG: Final = """
local pinned = {}
for i, key in ipairs(KEYS) do
  if redis.call('ZCOUNT', key, ARGV[1], '+inf') > 0 then pinned[#pinned + 1] = i - 1 end
end
return pinned
"""

# A habit is one string, so that those of a whole pool are one MGET: performances ever, of late, the
# last one, the last clone, when a place was last asked for, and the mark of the last performance.
_HABIT: Final = """
local function read()
  local habit = {0, 0, -math.huge, -math.huge, -math.huge}
  local i = 0
  for number in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
    i = i + 1
    habit[i] = tonumber(number)
  end
  return habit
end
local function written(numbers)
  local texts = {}
  for i, number in ipairs(numbers) do texts[i] = string.format('%.17g', number) end
  return table.concat(texts, ' ')
end
local function keep(habit, lasts)
  local text = written(habit)
  redis.call('SET', KEYS[1], text, 'PX', lasts)
  return text
end
"""

# The same as policy.performed, and how many of all leases found their voice. Nothing changes when it is
# told of the same performance again: the client asks once more when an answer was lost.
_PERFORMED: Final = """
local lasts, now = ARGV[1], tonumber(ARGV[2])
local sitting, share, half_life = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local mark, reused = tonumber(ARGV[6]), ARGV[7]
local habit = read()
if habit[6] == mark then return written(habit) end
habit[6] = mark
redis.call('HINCRBY', KEYS[2], 'all', 1)
redis.call('HINCRBY', KEYS[2], 'reused', reused)
local silence = math.max(now - habit[3], 0)
local counted = silence > sitting and 1 or share
habit[2] = habit[2] * 2 ^ (-silence / half_life) + counted
habit[1] = habit[1] + 1
habit[3] = math.max(now, habit[3])
return keep(habit, lasts)
"""

_CLONED: Final = """
local habit = read()
habit[4] = tonumber(ARGV[2])
return keep(habit, ARGV[1])
"""

# The same as policy.asked, for the first time in a sitting. Demand is one string as well: as of when,
# since when, and the counts.
_ASKED: Final = """
local now, sitting, half_life = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local level, levels = tonumber(ARGV[5]), tonumber(ARGV[6])
local habit = read()
local before = habit[5]
habit[5] = math.max(now, before)
keep(habit, ARGV[1])
if now - before <= sitting then return 0 end
local demand = {}
for number in string.gmatch(redis.call('GET', KEYS[2]) or '', '%S+') do
  demand[#demand + 1] = tonumber(number)
end
if #demand == 0 then
  demand[1], demand[2] = now, now
  for i = 1, levels do demand[i + 2] = 0 end
end
now = math.max(now, demand[1])
local left = 2 ^ (-(now - demand[1]) / half_life)
demand[1] = now
for i = 3, #demand do demand[i] = demand[i] * left end
demand[level + 3] = demand[level + 3] + 1
redis.call('SET', KEYS[2], written(demand))
return 1
"""

# Whoever is there already keeps the moment that is known of them.
_REBUILD: Final = """
local moments = {}
for i = 1, #ARGV, 2 do
  moments[i] = redis.call('ZSCORE', KEYS[1], ARGV[i]) or ARGV[i + 1]
end
redis.call('DEL', KEYS[1])
for i = 1, #ARGV, 2 do redis.call('ZADD', KEYS[1], moments[i], ARGV[i]) end
"""

# A habit this many half-lives old says nothing any more.
_HALF_LIVES_KEPT: Final = 8
_DEMAND: Final = "voice:pool:demand"
_RECENCY: Final = "voice:pool:recency"
_LEASES: Final = "voice:pool:leases"


class ValkeyPins:
    """A sorted set a user, of performances by the time at which their pins expire."""

    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey
        self._pinned_among = valkey.register_script(_PINNED_AMONG)

    async def pin(self, user_id: str, performance_id: str, until: datetime) -> bool:
        key = _pins(user_id)
        async with _reached():
            pipeline = self._valkey.pipeline(transaction=True)
            pipeline.zscore(key, performance_id)
            pipeline.zadd(key, {performance_id: until.timestamp()})
            # Never sooner than another performance's pin: the newest one ends last.
            pipeline.expireat(key, until)
            before, *_ = await pipeline.execute()
        # Held until this very moment it is by this call: the client asks once more when an answer was lost.
        return before in {None, until.timestamp()}

    async def unpin(self, user_id: str, performance_id: str) -> None:
        async with _reached():
            await self._valkey.zrem(_pins(user_id), performance_id)

    async def pinned(self, user_id: str, now: datetime) -> int:
        async with _reached():
            return int(await self._valkey.zcount(_pins(user_id), now.timestamp(), "+inf"))

    async def pinned_among(self, user_ids: Sequence[str], now: datetime) -> frozenset[str]:
        if not user_ids:
            return frozenset()
        async with _reached():
            pinned = await self._pinned_among(keys=[_pins(each) for each in user_ids], args=[now.timestamp()])
        return frozenset(user_ids[place] for place in pinned)

    async def forget(self, user_id: str) -> None:
        async with _reached():
            await self._valkey.delete(_pins(user_id))


class ValkeyHabits:
    def __init__(self, valkey: Redis, rules: Rules) -> None:
        self._valkey = valkey
        self._rules = rules
        shortest = max(rules.cooldown_seconds, rules.sitting_seconds, rules.protect_seconds)
        # Users who are silent for so long are forgotten; else all who ever performed would stay.
        self._lasts = max(1, round(1000 * max(_HALF_LIVES_KEPT * rules.half_life_seconds, shortest)))
        self._performed = valkey.register_script(_HABIT + _PERFORMED)
        self._cloned = valkey.register_script(_HABIT + _CLONED)
        self._asked = valkey.register_script(_HABIT + _ASKED)
        self._rebuild = valkey.register_script(_REBUILD)

    async def of(self, user_ids: Sequence[str]) -> Mapping[str, Habit]:
        if not user_ids:
            return {}
        async with _reached():
            found = await self._valkey.mget([_habit(user_id) for user_id in user_ids])
        return {user_id: _read(str(text or "")) for user_id, text in zip(user_ids, found, strict=True)}

    async def performed(self, user_id: str, performance_id: str, now: float, *, reused: bool) -> Habit:
        rules = self._rules
        spans = (rules.sitting_seconds, rules.further_share, rules.half_life_seconds)
        told = (_mark(performance_id), int(reused))
        async with _reached():
            text = await self._performed(
                keys=[_habit(user_id), _LEASES], args=[self._lasts, now, *spans, *told]
            )
        return _read(str(text))

    async def cloned(self, user_id: str, now: float) -> None:
        async with _reached():
            await self._cloned(keys=[_habit(user_id)], args=[self._lasts, now])

    async def demand(self) -> Demand:
        async with _reached():
            text = await self._valkey.get(_DEMAND)
        if text is None:
            return Demand()
        at, since, *counts = map(float, text.split())
        return Demand(tuple(counts), at, since)

    async def asked(self, user_id: str, gain: float, now: float) -> None:
        rules = self._rules
        # The policy knows which count is to grow; the script only how they all fade.
        grown = asked(Demand(), gain, rules, now).counts
        spans = (rules.sitting_seconds, rules.demand_half_life_seconds)
        counted = (grown.index(1), len(grown))
        async with _reached():
            await self._asked(keys=[_habit(user_id), _DEMAND], args=[self._lasts, now, *spans, *counted])

    async def reuse(self) -> Reuse:
        async with _reached():
            leases, reused = await self._valkey.hmget(_LEASES, "all", "reused")
        return Reuse(int(leases or 0), int(reused or 0))

    async def entered(self, user_id: str, now: float) -> None:
        async with _reached():
            await self._valkey.zadd(_RECENCY, {user_id: now}, gt=True)

    async def touched(self, user_id: str, now: float) -> Standing:
        async with _reached():
            pipeline = self._valkey.pipeline(transaction=True)
            pipeline.zadd(_RECENCY, {user_id: now}, xx=True, gt=True)
            pipeline.zrevrank(_RECENCY, user_id)
            pipeline.zcard(_RECENCY)
            _, position, size = await pipeline.execute()
        return Standing(position, size)

    async def left(self, user_id: str) -> None:
        async with _reached():
            await self._valkey.zrem(_RECENCY, user_id)

    async def forget(self, user_id: str) -> None:
        async with _reached():
            pipeline = self._valkey.pipeline(transaction=True)
            pipeline.delete(_habit(user_id))
            pipeline.zrem(_RECENCY, user_id)
            await pipeline.execute()

    async def rebuild(self, held: Mapping[str, float]) -> None:
        moments = [part for user_id, moment in held.items() for part in (user_id, moment)]
        async with _reached():
            await self._rebuild(keys=[_RECENCY], args=moments)


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise PinsUnavailable(type(error).__name__) from error


def _read(text: str) -> Habit:
    if not text:
        return Habit()
    performs, recent, last, cloned, *_ = map(float, text.split())
    return Habit(int(performs), recent, last, cloned)


def _mark(performance_id: str) -> int:
    """A number as the rest of a habit is, and small enough for a script to keep it exactly."""
    return int.from_bytes(sha256(performance_id.encode()).digest()[:6])


def _pins(user_id: str) -> str:
    return f"voice:pins:{user_id}"


def _habit(user_id: str) -> str:
    return f"voice:habit:{user_id}"
