"""The seats at a provider in Valkey, for all replicas; what they change together, a script changes at once.

A seat and a place in the queue last as long as their process says, every few seconds, that they are still
wanted: those of a process that died run out. Whoever leaves a seat hands it to the first in the queue.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from services.kernel.cache import cache_client
from services.kernel.server import running
from services.synthesis.gate import Gate, Outlook, OwnSeats, SeatsUnavailable, Terms, Ticket
from services.synthesis.gate.seats import CEILING_SECONDS, NEWEST_SHARE

log = structlog.get_logger()

_CONNECTIONS: Final = 16
# Three times in the life of a lease: one that is lost does no harm.
_BEATS_PER_LEASE: Final = 3
_RECONNECT_SECONDS: Final = 0.5

# What all scripts begin with. Moments are milliseconds by Valkey's clock, arrivals microseconds.
_SHARED: Final = """
local seats, queue, waiting, facts, pods = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lease, assumed, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local granted, ticket = ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local arrival = time[1] * 1000000 + time[2]
local function fact(name) return tonumber(redis.call('HGET', facts, name) or 0) end
local function limit()
  local learned, seats = fact('learned'), assumed
  if most > 0 then seats = learned > 0 and math.min(learned, most) or most
  elseif learned > 0 then seats = learned end
  return now < fact('ceiling_until') and math.min(seats, fact('ceiling')) or seats
end
local function sweep()
  redis.call('ZREMRANGEBYSCORE', seats, '-inf', now)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now)) do
    redis.call('ZREM', waiting, gone)
    redis.call('ZREM', queue, gone)
  end
end
local function sit(who)
  redis.call('ZREM', waiting, who)
  redis.call('ZADD', seats, now + lease, who)
end
local function line_up(who, arrived)
  redis.call('ZADD', queue, arrived, who)
  redis.call('ZADD', waiting, now + lease, who)
end
local function grant()
  for _ = 1, limit() - redis.call('ZCARD', seats) do
    local next = redis.call('ZPOPMIN', queue)[1]
    if not next then return end
    sit(next)
    redis.call('PUBLISH', granted .. string.match(next, '^[^:]*'), next)
  end
end
sweep()
"""
_ENTER: Final = """
local queue_limit, patience = tonumber(ARGV[6]), tonumber(ARGV[7])
grant()
-- Asked twice when the first answer was lost.
if redis.call('ZSCORE', seats, ticket) then return {'seated', 0, arrival} end
local arrived = redis.call('ZSCORE', queue, ticket)
if arrived then return {'waiting', 0, tonumber(arrived)} end
local ahead = redis.call('ZCARD', queue)
if ahead == 0 and redis.call('ZCARD', seats) < limit() then
  sit(ticket)
  return {'seated', 0, arrival}
end
local wait = math.ceil(fact('usual') * (ahead + 1) / limit())
if ahead >= queue_limit then return {'queue_full', wait, arrival} end
if wait > patience then return {'too_long', wait, arrival} end
line_up(ticket, arrival)
return {'waiting', wait, arrival}
"""
_LEAVE: Final = """
local held, newest = tonumber(ARGV[6]), tonumber(ARGV[7])
redis.call('ZREM', queue, ticket)
redis.call('ZREM', waiting, ticket)
redis.call('ZREM', seats, ticket)
if held > 0 then
  local usual = fact('usual')
  if usual == 0 then newest = 1 end
  redis.call('HSET', facts, 'usual', usual + newest * (held - usual))
end
grant()
"""
_STEP_BACK: Final = """
local arrived, lasts = ARGV[6], tonumber(ARGV[7])
redis.call('ZREM', seats, ticket)
local others = redis.call('ZCARD', seats)
if others == 0 then
  sit(ticket)
  return 0
end
redis.call('HSET', facts, 'ceiling', others, 'ceiling_until', now + lasts)
line_up(ticket, arrived)
return others
"""
_LEARN: Final = """
redis.call('HSET', facts, 'learned', ARGV[6])
grant()
"""
# Who sits in truth sits also here, whatever was forgotten meanwhile; then the others, in their old order.
_BEAT: Final = """
redis.call('ZADD', pods, now + lease, ticket)
redis.call('ZREMRANGEBYSCORE', pods, '-inf', now)
local mine = cjson.decode(ARGV[6])
for _, who in ipairs(mine.seated) do sit(who) end
for _, each in ipairs(mine.waiting) do
  if not redis.call('ZSCORE', seats, each[1]) then line_up(each[1], each[2]) end
end
grant()
local seated = {}
for _, each in ipairs(mine.waiting) do
  if redis.call('ZSCORE', seats, each[1]) then seated[#seated + 1] = each[1] end
end
return {limit(), redis.call('ZCARD', pods), seated}
"""


@dataclass(frozen=True, slots=True)
class Shared:
    """Where replicas share what they know of their seats."""

    url: str
    # Longer, and each goes on alone.
    seconds: float = 1.0
    # How long a seat of a process that died is kept.
    lease_seconds: float = 12.0


class ValkeySeats:
    """Needs `keep_alive` to run beside it."""

    def __init__(
        self, valkey: Redis, name: str, terms: Terms, share: Callable[[int], None], lease_seconds: float
    ) -> None:
        """`share` is told how many seats this process may take should Valkey be lost."""
        self._valkey = valkey
        self._terms = terms
        self._share = share
        self._lease = lease_seconds
        self._pod = uuid4().hex
        self._mine: dict[str, Ticket] = {}
        # Whoever hangs up while it is under way leaves after it: the other way round, nobody would leave.
        self._entering: dict[str, asyncio.Task[Any]] = {}
        # While it is, nobody waits for a connection that will not come.
        self._lost = False
        # A ticket must not leave, or stand up, while a beat is on its way that says it is still there.
        self._moving = asyncio.Lock()
        # In braces: all keys of a gate lie on one node of a cluster.
        prefix = f"newvisions:synthesis:gate:{{{name}}}:"
        self._keys = [prefix + kind for kind in ("seats", "queue", "waiting", "facts", "pods")]
        self._granted = prefix + "granted:"

    async def enter(self, ticket: Ticket, patience_seconds: float) -> Outlook:
        name, limits = self._name(ticket), (self._terms.queue_limit, _milliseconds(patience_seconds))
        # Before it is asked: the seat may be granted before the answer is read. And when there is no
        # answer: once Valkey is back, it learns of all who speak.
        self._mine[name] = ticket
        self._entering[name] = asyncio.create_task(self._run(_ENTER, name, *limits))
        state, wait, arrived = await asyncio.shield(self._entering[name])
        ticket.arrived = int(arrived)
        if state == "seated":
            ticket.seat()
        admitted = state in ("seated", "waiting")
        if not admitted:
            del self._mine[name]
        return Outlook(admitted, int(wait) / 1000, "" if admitted else str(state))

    async def leave(self, ticket: Ticket, held_seconds: float) -> None:
        name = self._name(ticket)
        if entering := self._entering.pop(name, None):
            with suppress(SeatsUnavailable):
                await asyncio.shield(entering)
        async with self._moving:
            if self._mine.pop(name, None):
                await self._run(_LEAVE, name, _milliseconds(held_seconds), NEWEST_SHARE)

    async def step_back(self, ticket: Ticket) -> int:
        async with self._moving:
            ticket.stand_up()
            lasts = _milliseconds(CEILING_SECONDS)
            others = int(await self._run(_STEP_BACK, self._name(ticket), ticket.arrived, lasts))
            if not others:
                ticket.seat()
            return others

    async def learn(self, seats: int) -> None:
        await self._run(_LEARN, "", seats)

    async def keep_alive(self) -> None:
        """Hears who is granted a seat, and says who is still here. Never ends."""
        while True:
            try:
                async with self._valkey.pubsub() as messages:
                    await messages.subscribe(self._granted + self._pod)
                    await self._listen(messages)
            except (RedisError, OSError, SeatsUnavailable) as error:
                if not self._lost:
                    log.warning("speech_gate_lost", cause=str(error) or type(error).__name__)
                self._lost = True
                # They wait for what nobody will say; elsewhere they may be served.
                for ticket in self._mine.values():
                    ticket.lose()
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self, messages: PubSub) -> None:
        beat_at = monotonic()
        while True:
            if monotonic() >= beat_at:
                await self._beat()
                beat_at = monotonic() + self._lease / _BEATS_PER_LEASE
            message = await messages.get_message(True, timeout=max(0.0, beat_at - monotonic()))
            if message and (ticket := self._mine.get(message["data"])):
                ticket.seat()

    async def _beat(self) -> None:
        async with self._moving:
            seated = [name for name, ticket in self._mine.items() if ticket.seated.done()]
            waiting = [
                (name, ticket.arrived)
                for name, ticket in self._mine.items()
                if not ticket.seated.done() and ticket.arrived
            ]
            said = json.dumps({"seated": seated, "waiting": waiting})
            limit, pods, granted = await self._evaluated(_BEAT, self._pod, said)
            self._lost = False
            self._share(max(1, int(limit) // int(pods)))
            for name in granted:
                self._mine[name].seat()

    async def _run(self, script: str, ticket: str, *more: str | float) -> Any:
        if self._lost:
            raise SeatsUnavailable("lost")
        return await self._evaluated(script, ticket, *more)

    async def _evaluated(self, script: str, ticket: str, *more: str | float) -> Any:
        fixed = (_milliseconds(self._lease), self._terms.assumed, self._terms.most, self._granted, ticket)
        try:
            return await self._valkey.eval(_SHARED + script, len(self._keys), *self._keys, *fixed, *more)
        except (RedisError, OSError) as error:
            raise SeatsUnavailable(type(error).__name__) from error

    def _name(self, ticket: Ticket) -> str:
        return f"{self._pod}:{ticket.number}"


@asynccontextmanager
async def open_gate(engine: str, key: str, terms: Terms, shared: Shared | None) -> AsyncIterator[Gate]:
    """One gate for all who share a `key`, of which only a digest is kept.

    Without Valkey there is one gate for each process, and the terms are this process's share.
    """
    own = OwnSeats(terms)
    if shared is None:
        log.warning("speech_gate_not_shared", engine=engine, seats=terms.seats(0))
        yield Gate(engine, own)
        return
    name = f"{engine}-{sha256(key.encode()).hexdigest()[:16]}"
    async with cache_client(shared.url, shared.seconds, _CONNECTIONS) as valkey:
        seats = ValkeySeats(valkey, name, terms, own.limit_to, shared.lease_seconds)
        async with running(seats.keep_alive()):
            yield Gate(engine, own, seats)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
