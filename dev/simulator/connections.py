"""Connections that can be cut in the middle of an answer, as networks do."""

import asyncio
from typing import Any, Final

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_OPEN: Final[dict[tuple[str, int], asyncio.Transport]] = {}


class CuttableConnection(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.client:
            _OPEN[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.client:
            _OPEN.pop(self.client, None)


async def cut(scope: Scope, receive: Receive) -> None:
    """Returns when the connection is gone."""
    if transport := _OPEN.get(tuple(scope["client"])):
        transport.abort()
    await hung_up(receive)


async def hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
