"""Remembers in Valkey which notes each user was given lately. Losing it costs variety, never truth."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.content.domain import RecentNotesUnavailable

KEPT = 50
KEPT_SECONDS = 24 * 3600


def client(url: str, seconds: float) -> Redis:
    """A client that never makes a note wait: short limits, and one more try for a connection gone stale."""
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


class ValkeyRecentNotes:
    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey

    async def of(self, user_id: str) -> frozenset[str]:
        try:
            kept = await self._valkey.lrange(_key(user_id), 0, KEPT - 1)
        except (RedisError, OSError) as error:
            raise RecentNotesUnavailable("Recent notes cannot be read.") from error
        return frozenset(map(str, kept))

    async def remember(self, user_id: str, fingerprint: str) -> None:
        pipeline = self._valkey.pipeline(transaction=True)
        pipeline.lpush(_key(user_id), fingerprint)
        pipeline.ltrim(_key(user_id), 0, KEPT - 1)
        pipeline.expire(_key(user_id), KEPT_SECONDS)
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise RecentNotesUnavailable("Recent notes cannot be kept.") from error

    async def forget(self, user_id: str) -> int:
        pipeline = self._valkey.pipeline(transaction=True)
        pipeline.llen(_key(user_id))
        pipeline.delete(_key(user_id))
        try:
            remembered, _ = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise RecentNotesUnavailable("Recent notes cannot be erased.") from error
        return int(remembered)


def _key(user_id: str) -> str:
    return f"content:recent:{user_id}"
