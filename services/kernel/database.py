"""The client of MongoDB that services use, and the one place where the driver's failures become theirs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from pymongo import AsyncMongoClient
from pymongo.asynchronous.pool import Pool
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.kernel.errors import ServiceError

log = structlog.get_logger()

_LONGEST_SEARCH_SECONDS = 3.0


def database_client(url: str, connections: int, seconds: float) -> AsyncMongoClient[dict[str, Any]]:
    """To be used as a context, which closes it. Connects when first asked. An answer may take so many
    `seconds`, and finding the server as long, but no more than three. Who waits for a connection gets one
    in order of arrival.

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
        _pool_class=_Pool,
    )


@contextmanager
def reached(failure: ServiceError) -> Iterator[None]:
    """Whatever goes wrong with the database becomes this failure. That something is there already is no
    failure: DuplicateKeyError is raised as it is.
    """
    try:
        yield
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        log.warning("database_failed", cause=type(error).__name__, reason=failure.reason)
        raise failure from error


class _Client(AsyncMongoClient[dict[str, Any]]):
    """No cancellation reaches the search for a server: it ends by itself, within its timeout."""

    async def _select_server(self, *args: Any, **kwargs: Any) -> Any:
        search = asyncio.create_task(super()._select_server(*args, **kwargs))
        search.add_done_callback(_retrieve_failure)
        return await asyncio.shield(search)


class _Pool(Pool):
    """The driver's own serves those who wait in no order, and some hardly ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = asyncio.Semaphore(int(self.opts.max_pool_size))

    @asynccontextmanager
    async def checkout(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        async with self._turns, super().checkout(*args, **kwargs) as connection:
            yield connection


def _retrieve_failure(search: asyncio.Task[Any]) -> None:
    """What came of it is nobody's business when its caller has left."""
    if not search.cancelled():
        search.exception()
