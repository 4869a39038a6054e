"""The audio of one performance while it is made."""

import asyncio
from collections.abc import AsyncGenerator

# Small, so that a player starts at once; then large, because each chunk costs the same.
_FIRST_CHUNK_BYTES, _CHUNK_BYTES = 4 << 10, 64 << 10


class Sound:
    """Takes audio from the speech service as fast as that makes it; listeners follow at their own pace.

    A slow phone therefore holds no speech engine. A memo is small enough to be kept whole.
    """

    def __init__(self) -> None:
        self.audio = bytearray()
        self._ended = False
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    @classmethod
    def whole(cls, audio: bytes) -> "Sound":
        """Audio that was kept before."""
        sound = cls()
        sound.add(audio)
        sound.end()
        return sound

    def add(self, piece: bytes) -> None:
        self.audio += piece
        self._tell()

    def end(self) -> None:
        """The audio is whole and kept."""
        self._ended = True
        self._tell()

    def fail(self, failure: BaseException) -> None:
        """Nothing more will come; every listener gets `failure`."""
        self._failure = failure
        self.end()

    async def begun(self) -> None:
        """Until there is something to hear. Raises what broke it."""
        while not (self.audio or self._ended):
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """From the first byte to the last. Ends only when the audio is kept; raises what broke it."""
        heard = 0
        while True:
            changed = self._changed
            if self._failure is not None:
                raise self._failure
            limit = _CHUNK_BYTES if heard else _FIRST_CHUNK_BYTES
            chunk = bytes(self.audio[heard : heard + limit])
            if chunk:
                heard += len(chunk)
                yield chunk
            elif self._ended:
                return
            else:
                await changed.wait()

    def _tell(self) -> None:
        """Wake who waits now; later waits are for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()
