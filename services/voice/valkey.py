"""Pins in Valkey: a sorted set a user, of performances by the time at which their pins expire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.voice.domain import PinsUnavailable


def client(url: str, seconds: float) -> Redis:
    """Short limits: no performance waits for a pin. One more try, for a connection gone stale."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=32,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )
    return Redis.from_pool(pool)


class ValkeyPins:
    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey

    async def pin(self, user_id: str, performance_id: str, until: datetime) -> None:
        key = _key(user_id)
        async with _reached():
            pipeline = self._valkey.pipeline(transaction=True)
            pipeline.zadd(key, {performance_id: until.timestamp()})
            # Never sooner than another performance's pin: the newest one ends last.
            pipeline.expireat(key, until)
            await pipeline.execute()

    async def unpin(self, user_id: str, performance_id: str) -> None:
        async with _reached():
            await self._valkey.zrem(_key(user_id), performance_id)

    async def pinned(self, user_id: str, now: datetime) -> int:
        async with _reached():
            return int(await self._valkey.zcount(_key(user_id), now.timestamp(), "+inf"))

    async def forget(self, user_id: str) -> None:
        async with _reached():
            await self._valkey.delete(_key(user_id))


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise PinsUnavailable(type(error).__name__) from error


def _key(user_id: str) -> str:
    return f"voice:pins:{user_id}"
