"""Brings a backup back: everything is looked at before anything is changed, and counted at the end."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
from bson import decode_file_iter, json_util
from bson.raw_bson import RawBSONDocument

from dev.backup.making import content_of, names_in
from dev.backup.manifest import Collection, Manifest, digest, digest_of, key_digests
from dev.backup.stores import AS_THEY_ARE, Stores, open_blobs

_AT_ONCE_BYTES = 4 << 20
_AT_ONCE = 500


class BackupDamaged(Exception):
    """A file is missing, or is not what was written."""


class TargetNotEmpty(Exception):
    """Something is kept there that would be lost."""


class KeysDiffer(Exception):
    """What would be restored could not be opened there."""


class CountsDiffer(Exception):
    """Not all documents of a collection arrived: somebody else writes there."""


async def restore_backup(stores: Stores, folder: Path, *, replace: bool) -> Manifest:
    """Raises NoBackup, BackupDamaged, TargetNotEmpty or KeysDiffer before anything is changed."""
    manifest = Manifest.read(folder)
    await _verify(manifest, folder)
    if not replace:
        await _must_be_empty(stores)
    _restore_keys(manifest, stores, folder, replace=replace)
    await _clear(stores)
    for collection in manifest.collections:
        await _restore_collection(collection, stores.databases[collection.service], folder)
    for service, store in stores.blobs.items():
        await _restore_blobs(manifest, service, store, folder)
    return manifest


async def _verify(manifest: Manifest, folder: Path) -> None:
    """Blobs by way of the store's own names, which need not be those of the files."""
    copies = {service: open_blobs(_copies(folder, service)) for service in manifest.blobs}
    for name, expected in manifest.files.items():
        try:
            service, blob = _blob(name)
            found = digest(await content_of(copies[service], blob)) if blob else digest_of(folder / name)
        except OSError as error:
            raise BackupDamaged(f"{name} cannot be read") from error
        if found != expected:
            raise BackupDamaged(f"{name} is not what was written: its SHA-256 differs")


def _blob(name: str) -> tuple[str, str]:
    """The service and the blob's own name; empty for other files."""
    kind, _, rest = name.partition("/")
    service, _, blob = rest.partition("/")
    return (service, blob) if kind == "blobs" else ("", "")


def _copies(folder: Path, service: str) -> str:
    return (folder / "blobs" / service).resolve().as_uri()


async def _must_be_empty(stores: Stores) -> None:
    """Collections without a document do not count: services make them when they start."""
    for service, database in stores.databases.items():
        for name in await database.list_collection_names():
            if await database[name].find_one({}, {"_id": 1}) is not None:
                raise TargetNotEmpty(f"the database of {service} has documents in {name}")
    for service, store in stores.blobs.items():
        for name in await names_in(store):
            raise TargetNotEmpty(f"the blob store of {service} has {name}")


def _restore_keys(manifest: Manifest, stores: Stores, folder: Path, *, replace: bool) -> None:
    """A key that is in the backup is put where none is; one that is not must be there already."""
    wrong = [service for service in manifest.keys if not _opens(manifest, service, stores.key_files[service])]
    for service in wrong:
        target = stores.key_files[service]
        if f"keys/{service}.key" not in manifest.files:
            raise KeysDiffer(
                f"{target} is not the key of {service} that this backup was made with, and the backup holds "
                "no keys; put the right file there first"
            )
        if target.exists() and not replace:
            raise KeysDiffer(f"{target} is another key than the one in the backup")
    for service in wrong:
        _put_key(folder / f"keys/{service}.key", stores.key_files[service])


def _opens(manifest: Manifest, service: str, file: Path) -> bool:
    """A file to which keys were added since opens all the same."""
    return file.is_file() and set(manifest.keys[service]) <= set(key_digests(file))


def _put_key(copy: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(copy.read_bytes())
    fresh.replace(target)


async def _clear(stores: Stores) -> None:
    for database in stores.databases.values():
        for name in await database.list_collection_names():
            if not name.startswith("system."):
                await database.drop_collection(name)
    for store in stores.blobs.values():
        for name in await names_in(store):
            await asyncio.to_thread(obstore.delete, store, name)


async def _restore_collection(kept: Collection, database: Any, folder: Path) -> None:
    await database.create_collection(kept.name)
    indexes = json_util.loads(kept.indexes)
    if indexes:
        await database.command({"createIndexes": kept.name, "indexes": indexes})
    collection = database.get_collection(kept.name, codec_options=AS_THEY_ARE)
    with (folder / kept.file).open("rb") as opened:
        for documents in _batches(decode_file_iter(opened, AS_THEY_ARE)):
            await collection.insert_many(documents)
    arrived = await collection.count_documents({})
    if arrived != kept.documents:
        raise CountsDiffer(f"{kept.service}.{kept.name} has {arrived} documents, not {kept.documents}")


def _batches(documents: Iterator[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.raw)
        if len(batch) == _AT_ONCE or size >= _AT_ONCE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _restore_blobs(manifest: Manifest, service: str, store: Any, folder: Path) -> None:
    copies = open_blobs(_copies(folder, service))
    for of, name in map(_blob, manifest.files):
        if of == service:
            await asyncio.to_thread(obstore.put, store, name, await content_of(copies, name))
