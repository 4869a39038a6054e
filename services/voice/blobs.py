"""Samples and profiles in a blob store, encrypted: what is stored is of no use without the key file."""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import obstore
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from obstore.exceptions import BaseError
from obstore.store import from_url

from services.kernel.settings import SettingUnusable, at_fault
from services.kernel.stores import USUAL_SECONDS, Threads, patience
from services.voice.domain import BlobMissing, BlobSealed, SealedBlob, VoiceStoreUnavailable

log = structlog.get_logger()

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_THREADS: Final = 8


class KeyFileUnusable(SettingUnusable):
    """The service must not start: what it would store could not be opened again."""


class Keys:
    """AES-256-GCM keys by their ids. The first one seals; all of them open."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self.sealing_id = _key_id(keys[0])

    def seal(self, content: bytes, name: str) -> bytes:
        """The blob's name is sealed in: a blob that was moved to another's place does not open."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[self.sealing_id].encrypt(nonce, content, name.encode())

    def open(self, sealed: bytes, blob: SealedBlob) -> bytes:
        """Raises InvalidTag for a blob that was changed, KeyError for a key that is not in the file."""
        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return self._ciphers[blob.key_id].decrypt(nonce, content, blob.name.encode())


def read_keys(file: Path) -> Keys:
    """Raises KeyFileUnusable."""
    try:
        keys = [base64.b64decode(line, validate=True) for line in file.read_text("ascii").split()]
    except (OSError, UnicodeError, binascii.Error) as error:
        raise KeyFileUnusable(
            f"setting VOICE_KEY_FILE: {file} cannot be read ({type(error).__name__})"
        ) from error
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise KeyFileUnusable(
            f"setting VOICE_KEY_FILE: {file} must hold base64 keys of {_KEY_BYTES} bytes, one a line"
        )
    return Keys(keys)


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"newvisions voice key " + key).hexdigest()[:16]


def open_store(url: str, seconds: float = USUAL_SECONDS) -> Any:
    """A folder is made when it is missing; a bucket is not. Raises SettingUnusable."""
    with at_fault("VOICE_BLOB_URL", "there is no store that can be opened", BaseError, OSError, ValueError):
        of_files = {"mkdir": True} if url.startswith("file:") else {}
        return from_url(url, **of_files, **patience(url, seconds))


class SealedBlobs:
    """The library's own asynchronous calls leave threads behind that may abort the process when it ends."""

    def __init__(self, store: Any, keys: Keys, seconds: float = USUAL_SECONDS) -> None:
        """An answer takes so many seconds at most."""
        self._store = store
        self._threads = Threads(_THREADS, seconds)
        self._keys = keys

    @property
    def sealing_id(self) -> str:
        """Of the key that seals from now on."""
        return self._keys.sealing_id

    async def put(self, name: str, content: bytes) -> SealedBlob:
        with _reached():
            await self._threads.run(obstore.put, self._store, name, self._keys.seal(content, name))
        return SealedBlob(name, self._keys.sealing_id)

    async def get(self, blob: SealedBlob) -> bytes:
        with _reached():
            try:
                sealed = await self._threads.run(self._sealed, blob.name)
            except FileNotFoundError as error:
                raise BlobMissing(blob.name) from error
        try:
            return self._keys.open(sealed, blob)
        except (InvalidTag, KeyError) as error:
            # Somebody must look: the key file is the wrong one, or the blob was damaged.
            log.error("voice_blob_sealed", blob=blob.name, key_id=blob.key_id, cause=type(error).__name__)
            raise BlobSealed("The voice cannot be read right now.") from error

    def _sealed(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, name).bytes())

    async def delete(self, name: str) -> None:
        with _reached():
            try:
                await self._threads.run(obstore.delete, self._store, name)
            except FileNotFoundError:
                log.debug("voice_blob_absent", blob=name)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        log.warning("voice_blobs_failed", cause=type(error).__name__)
        raise VoiceStoreUnavailable("Voices cannot be read or stored right now.") from error
