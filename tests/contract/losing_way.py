"""A way to Valkey on which an answer is lost: what was asked has happened, and its caller asks again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class LosingWay:
    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self.url = ""
        self.lost = 0
        # The next script or transaction runs, and instead of its answer the connection ends.
        self.loses_the_next = False
        self._losing = False

    def at(self, port: int) -> None:
        self.url = urlunsplit(self._there._replace(netloc=f"127.0.0.1:{port}"))

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection(self._there.hostname, self._there.port)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._ask(reader, asks))
            both.create_task(self._answer(answers, writer))

    async def _ask(self, reader: asyncio.StreamReader, asks: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65_536):
            if self.loses_the_next and (b"EVAL" in asked or b"EXEC" in asked):
                self.loses_the_next, self._losing = False, True
            asks.write(asked)
        asks.close()

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (said := await answers.read(65_536)) and not self._losing:
            writer.write(said)
        if self._losing:
            self._losing = False
            self.lost += 1
        writer.close()


@asynccontextmanager
async def losing_way(url: str) -> AsyncIterator[LosingWay]:
    way = LosingWay(url)
    server = await asyncio.start_server(way.carry, "127.0.0.1", 0)
    way.at(server.sockets[0].getsockname()[1])
    yield way
    server.close()
