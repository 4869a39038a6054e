"""The client of Valkey that services use: what is kept there may be lost, so nobody waits for it long."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def cache_client(url: str, seconds: float, connections: int = 32) -> Redis:
    """To be used as a context, which closes it. Connects when first asked; one more try, for a connection
    gone stale. Whoever finds all connections busy waits for one, as long as for an answer.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )
    return Redis.from_pool(pool)
