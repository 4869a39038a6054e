"""The text of one performance while it is written."""

import asyncio
from collections.abc import AsyncGenerator


class Script:
    """Who reads it follows the writer, as often as need be from the beginning."""

    def __init__(self) -> None:
        self.text = ""
        self.whole = False
        self._changed = asyncio.Event()

    @classmethod
    def of(cls, text: str) -> "Script":
        """One that was there before."""
        script = cls()
        script.add(text)
        script.end()
        return script

    def add(self, piece: str) -> None:
        self.text += piece
        self._tell()

    def end(self) -> None:
        """Nothing more is written. Never said of a text that broke off: nobody may take it for whole."""
        self.whole = True
        self._tell()

    async def begun(self) -> None:
        while not self.text:
            await self._changed.wait()

    async def after(self, beginning: str) -> AsyncGenerator[str, None]:
        """What follows this beginning, as it is written; ends when the text is whole."""
        read = len(beginning)
        while True:
            changed = self._changed
            if more := self.text[read:]:
                read += len(more)
                yield more
            elif self.whole:
                return
            else:
                await changed.wait()

    async def to_its_end(self) -> str:
        """The whole text."""
        while not self.whole:
            await self._changed.wait()
        return self.text

    def _tell(self) -> None:
        """Wake who waits now; later waits are for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()
