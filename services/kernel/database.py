"""The client of MongoDB that services use: a server that does not answer in time counts as away."""

import asyncio
from typing import Any

from pymongo import AsyncMongoClient

_LONGEST_SEARCH_SECONDS = 3.0


def database_client(url: str, connections: int, seconds: float) -> AsyncMongoClient[dict[str, Any]]:
    """To be used as a context, which closes it. Connects when first asked. An answer may take so many
    `seconds`, and finding the server as long, but no more than three.

    Whoever waits in the driver may be cancelled twice: by who left, and by a deadline. Where it waits in
    `asyncio.wait_for`, which Python 3.11 runs as another task, the second one leaves that task behind: it
    takes the driver's lock, and whoever comes later waits for ever. It does so for a connection under
    `timeoutMS`, which is left out here, and always for a server.
    """
    search = round(min(seconds, _LONGEST_SEARCH_SECONDS) * 1000)
    return _Client(
        url,
        tz_aware=True,
        uuidRepresentation="standard",
        maxPoolSize=connections,
        serverSelectionTimeoutMS=search,
        connectTimeoutMS=search,
        socketTimeoutMS=round(seconds * 1000),
    )


class _Client(AsyncMongoClient[dict[str, Any]]):
    """No cancellation reaches the search for a server: it ends by itself, within its timeout."""

    async def _select_server(self, *args: Any, **kwargs: Any) -> Any:
        search = asyncio.create_task(super()._select_server(*args, **kwargs))
        search.add_done_callback(_told)
        return await asyncio.shield(search)


def _told(search: asyncio.Task[Any]) -> None:
    """What came of it is nobody's business when its caller has left."""
    if not search.cancelled():
        search.exception()
