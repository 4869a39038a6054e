"""Recordings' audio in files, S3, GCS or Azure, chosen by URL."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import PurePosixPath
from time import monotonic
from typing import Any
from urllib.parse import quote
from uuid import UUID

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import from_url

from services.kernel.ranges import Span
from services.kernel.settings import at_fault
from services.kernel.stores import USUAL_SECONDS, Threads, patience
from services.perform.errors import RecordingNotFound, RecordingStoreUnavailable
from services.perform.filing import StoredAudio

log = structlog.get_logger()

_ALL = "recordings"
_AWAY = "The store for recordings cannot be reached right now."
_LISTED_AT_ONCE = 500
# As many as wait for a store at once; they hold the audio of who waits for them.
_THREADS = 16
# Of audio that is sent in parts of 5 MB, which are copies.
_PARTS_AT_ONCE = 2
# Nothing lies there, and the store must say so.
_PROBE = "recordings/probe"
_PROBE_SECONDS, _BELIEVED_SECONDS = 1.0, 10.0


class StoredBlobs:
    """Writes are whole or nothing: files are renamed into place, object stores do it by themselves.

    The library's own asynchronous calls leave threads behind that may abort the process when it ends.
    """

    def __init__(self, url: str, seconds: float = USUAL_SECONDS) -> None:
        """An answer takes so many seconds at most. Raises SettingUnusable."""
        # An empty folder would still name the user whose audio it held.
        of_files = {"mkdir": True, "automatic_cleanup": True} if url.startswith("file:") else {}
        unusable = "there is no store that can be opened"
        with at_fault("PERFORM_BLOB_URL", unusable, BaseError, OSError, ValueError):
            self._store: Any = from_url(url, **of_files, **patience(url, seconds))
        self._threads = Threads(_THREADS, seconds)
        # A store that hangs is asked by one thread only, over and over.
        self._probing = Threads(1, _PROBE_SECONDS)
        self._answers_until = 0.0

    async def ping(self) -> None:
        """Returns when it answers; that it did is believed for ten seconds, because each question costs."""
        if monotonic() < self._answers_until:
            return
        try:
            with suppress(FileNotFoundError):
                await self._probing.run(obstore.head, self._store, _PROBE)
        except (BaseError, OSError) as error:
            raise RecordingStoreUnavailable(_AWAY) from error
        self._answers_until = monotonic() + _BELIEVED_SECONDS

    async def put(self, user_id: str, recording_id: UUID, audio: bytes | bytearray) -> None:
        path = _path(user_id, recording_id)
        with _reachable():
            await self._threads.run(obstore.put, self._store, path, audio, max_concurrency=_PARTS_AT_ONCE)

    async def get(self, user_id: str, recording_id: UUID, part: Span | None = None) -> bytes:
        path = _path(user_id, recording_id)
        with _reachable():
            if part is not None:
                bounds = {"start": part.start, "end": part.end}
                return bytes(await self._threads.run(obstore.get_range, self._store, path, **bounds))
            return await self._threads.run(self._whole, path)

    def _whole(self, path: str) -> bytes:
        return bytes(obstore.get(self._store, path).bytes())

    async def size(self, user_id: str, recording_id: UUID) -> int:
        with _reachable():
            found = await self._threads.run(obstore.head, self._store, _path(user_id, recording_id))
        return int(found["size"])

    async def delete(self, user_id: str, recording_id: UUID) -> None:
        try:
            with _reachable():
                await self._threads.run(obstore.delete, self._store, _path(user_id, recording_id))
        except RecordingNotFound:
            log.debug("blob_absent", recording_id=str(recording_id))

    async def delete_all(self, user_id: str) -> int:
        deleted = 0
        with _reachable():
            listing = obstore.list(self._store, prefix=_folder(user_id), chunk_size=_LISTED_AT_ONCE)
            while found := await self._threads.run(next, listing, None):
                await self._threads.run(obstore.delete, self._store, [each["path"] for each in found])
                deleted += len(found)
        return deleted

    async def older_than(self, moment: datetime) -> AsyncGenerator[Sequence[StoredAudio], None]:
        with _reachable():
            listing = obstore.list(self._store, prefix=_ALL, chunk_size=_LISTED_AT_ONCE)
            while found := await self._threads.run(next, listing, None):
                old = [_stored(each["path"]) for each in found if each["last_modified"] < moment]
                yield [each for each in old if each is not None]

    async def remove(self, audio: Sequence[StoredAudio]) -> None:
        for each in audio:
            try:
                with _reachable():
                    await self._threads.run(obstore.delete, self._store, each.path)
            except RecordingNotFound:
                log.debug("blob_absent", recording_id=str(each.recording_id))


def _stored(path: str) -> StoredAudio | None:
    """None for what we did not put there."""
    try:
        return StoredAudio(path, UUID(PurePosixPath(path).stem))
    except ValueError:
        return None


def _folder(user_id: str) -> str:
    return f"{_ALL}/{quote(user_id, safe='')}"


def _path(user_id: str, recording_id: UUID) -> str:
    return f"{_folder(user_id)}/{recording_id}.mp3"


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise RecordingNotFound("The audio of this recording is gone.") from error
    except (BaseError, OSError) as error:
        log.error("blob_store_failed", cause=type(error).__name__)
        raise RecordingStoreUnavailable(_AWAY) from error
