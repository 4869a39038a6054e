"""Hearing an engine out as fast as it speaks, whatever its listener's memo waits for meanwhile.

A seat at a provider is then held for as long as it speaks, and not for as long as we encode: others wait for
it who have heard nothing yet.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager


class Ahead:
    """What was said and not taken yet. Beyond `most_bytes` of it the engine waits."""

    def __init__(self, speech: AsyncGenerator[bytes, None], most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._said = bytearray()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear_out(speech))
        self._hearing.add_done_callback(lambda _: self._news.set())

    async def next_chunk(self) -> bytes | None:
        """All that is there by now, as soon as there is anything; None when all was said.

        Raises what the engine raises, once all that it said before is taken.
        """
        while not self._said:
            if self._hearing.done():
                self._hearing.result()
                return None
            self._news.clear()
            await self._news.wait()
        taken = bytes(self._said)
        self._said.clear()
        self._room.set()
        return taken

    async def stop(self) -> None:
        self._hearing.cancel()
        await asyncio.wait([self._hearing])
        if not self._hearing.cancelled():
            # Nobody asks any more.
            self._hearing.exception()

    async def _hear_out(self, speech: AsyncGenerator[bytes, None]) -> None:
        async with aclosing(speech):
            async for chunk in speech:
                self._said += chunk
                self._news.set()
                while len(self._said) > self._most_bytes:
                    self._room.clear()
                    await self._room.wait()


@asynccontextmanager
async def heard_ahead(speech: AsyncGenerator[bytes, None], most_bytes: int) -> AsyncIterator[Ahead]:
    """Leaving it stops the engine."""
    ahead = Ahead(speech, most_bytes)
    try:
        yield ahead
    finally:
        await ahead.stop()
