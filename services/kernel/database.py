"""The client of MongoDB that services use: a server that does not answer in time counts as away."""

from typing import Any

from pymongo import AsyncMongoClient

_LONGEST_SEARCH_SECONDS = 3.0


def database_client(url: str, connections: int, seconds: float) -> AsyncMongoClient[dict[str, Any]]:
    """To be used as a context, which closes it. Connects when first asked. An answer may take so many
    `seconds`, and finding the server as long, but no more than three.

    The driver's own `timeoutMS` is left out on purpose: with it the pool waits for a connection in
    `asyncio.wait_for`, which Python 3.11 runs as another task. A caller who is cancelled twice leaves that
    task behind, it takes the pool's lock, and whoever comes later waits for ever.
    """
    search = round(min(seconds, _LONGEST_SEARCH_SECONDS) * 1000)
    return AsyncMongoClient(
        url,
        tz_aware=True,
        uuidRepresentation="standard",
        maxPoolSize=connections,
        serverSelectionTimeoutMS=search,
        connectTimeoutMS=search,
        socketTimeoutMS=round(seconds * 1000),
    )
