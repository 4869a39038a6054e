"""Makes a backup: documents first, then blobs, the manifest last."""

import asyncio
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import obstore
from bson import json_util

from dev.backup.manifest import FORMAT, Collection, Manifest, digest, digest_of, key_digests
from dev.backup.stores import AS_THEY_ARE, Stores, open_blobs
from dev.project import ROOT


class FolderNotEmpty(Exception):
    """A backup is made in a new folder, so that none is ever half replaced."""


async def make_backup(stores: Stores, folder: Path, *, with_keys: bool) -> Manifest:
    """Raises FolderNotEmpty, and whatever the stores raise: the folder then holds no manifest."""
    _make_private(folder)
    manifest = Manifest(FORMAT, datetime.now(UTC).isoformat(), await _versions(stores))
    manifest.keys = {service: key_digests(file) for service, file in stores.key_files.items()}
    for service, database in stores.databases.items():
        for name in sorted(await database.list_collection_names()):
            if not name.startswith("system."):
                await _copy_collection(manifest, service, database, name, folder)
    for service, store in stores.blobs.items():
        await _copy_blobs(manifest, service, store, folder)
    if with_keys:
        for service, file in stores.key_files.items():
            _copy_key(manifest, service, file, folder)
    manifest.write(folder)
    return manifest


def _make_private(folder: Path) -> None:
    """What will be in it is: addresses, digests of passwords, recordings."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FolderNotEmpty(f"{folder} is not empty; name a new folder")
    folder.chmod(0o700)


async def _versions(stores: Stores) -> dict[str, str]:
    database = next(iter(stores.databases.values()))
    built = await database.client.admin.command("buildInfo")
    packages = {name: version(name) for name in ("pymongo", "obstore")}
    return {"newvisions": _own_version(), "database": str(built["version"]), **packages}


def _own_version() -> str:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return project.partition('\nversion = "')[2].partition('"')[0]


async def _copy_collection(manifest: Manifest, service: str, database: Any, name: str, folder: Path) -> None:
    """One document behind the other, as the database keeps them: what `bsondump` reads."""
    indexes = [
        {key: value for key, value in index.items() if key not in {"v", "ns"}}
        async for index in await database[name].list_indexes()
        if index["name"] != "_id_"
    ]
    collection, count = database.get_collection(name, codec_options=AS_THEY_ARE), 0
    file = folder / Collection(service, name, 0, "").file
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as opened:
        # In the order of ids no document is met twice when it moves meanwhile.
        async for document in collection.find({}).sort("_id", 1):
            opened.write(document.raw)
            count += 1
        opened.flush()
        os.fsync(opened.fileno())
    found = Collection(service, name, count, json_util.dumps(indexes))
    manifest.collections.append(found)
    manifest.files[found.file] = digest_of(file)


async def _copy_blobs(manifest: Manifest, service: str, store: Any, folder: Path) -> None:
    (folder / "blobs" / service).mkdir(parents=True, exist_ok=True)
    copies: Any = open_blobs((folder / "blobs" / service).resolve().as_uri())
    manifest.blobs[service] = 0
    for name in await names_in(store):
        try:
            content = await content_of(store, name)
        except FileNotFoundError:
            # Deleted since it was listed.
            continue
        await asyncio.to_thread(obstore.put, copies, name, content)
        manifest.blobs[service] += 1
        manifest.files[f"blobs/{service}/{name}"] = digest(content)


async def names_in(store: Any) -> list[str]:
    """In threads of ours, here and below: the store's own abort a process that ends while they report."""

    def listed() -> list[str]:
        return [str(each["path"]) for found in obstore.list(store) for each in found]

    return await asyncio.to_thread(listed)


async def content_of(store: Any, name: str) -> bytes:
    """Raises FileNotFoundError."""
    return await asyncio.to_thread(lambda: bytes(obstore.get(store, name).bytes()))


def _copy_key(manifest: Manifest, service: str, file: Path, folder: Path) -> None:
    copy = folder / f"keys/{service}.key"
    copy.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(file.read_bytes())
    manifest.files[f"keys/{service}.key"] = digest_of(copy)
