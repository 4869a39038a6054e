"""The stores that a backup is made of: three services' databases, two services' blobs, two services' keys."""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from obstore.store import from_url
from pymongo import AsyncMongoClient

from dev.process import Process
from dev.project import ROOT
from dev.services import Plan
from services.auth.settings import Settings as AuthSettings
from services.kernel.settings import read
from services.perform.settings import Settings as PerformSettings
from services.voice.settings import Settings as VoiceSettings

# Documents pass through as they are: not a byte of them changes.
AS_THEY_ARE: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class StackRuns(Exception):
    """Services are at work on the data."""


@dataclass(frozen=True, slots=True)
class Stores:
    # In the order of a backup: who is asked first knows least, see docs/backup.md.
    databases: Mapping[str, Any]
    blobs: Mapping[str, Any]
    key_files: Mapping[str, Path]


@asynccontextmanager
async def open_stores() -> AsyncIterator[Stores]:
    """Those that our environment names, read as the services would. Raises SettingsWrong."""
    auth, voice, perform = read(AuthSettings), read(VoiceSettings), read(PerformSettings)
    places = {
        "perform": (str(perform.mongo_url), perform.mongo_database),
        "voice": (str(voice.mongo_url), voice.mongo_database),
        "auth": (auth.mongo_url, auth.database),
    }
    async with AsyncExitStack() as stack:
        clients: dict[str, AsyncMongoClient[Any]] = {
            url: await stack.enter_async_context(
                AsyncMongoClient(url, uuidRepresentation="standard", serverSelectionTimeoutMS=5000)
            )
            for url, _ in places.values()
        }
        yield Stores(
            {service: clients[url][name] for service, (url, name) in places.items()},
            {"voice": open_blobs(voice.blob_url), "perform": open_blobs(perform.blob_url)},
            {"auth": auth.key_file, "voice": voice.key_file},
        )


def open_blobs(url: str) -> Any:
    return from_url(url, mkdir=True, automatic_cleanup=True) if url.startswith("file:") else from_url(url)


@asynccontextmanager
async def stopped_stack(data: Path) -> AsyncIterator[dict[str, str]]:
    """The settings of a stack that does not run, whose database runs for as long as the context.

    Raises StackRuns.
    """
    with _locked(data) as lock:
        plan = Plan(data, "one", "local", {})
        logs = data / "logs"
        logs.mkdir(exist_ok=True)
        async with AsyncExitStack() as running:
            for database in plan.database():
                server = await Process.start(database, logs, ROOT, holding=(lock,))
                running.push_async_callback(server.stop)
            yield plan.settings(("auth", "voice", "perform"))


@contextmanager
def _locked(data: Path) -> Iterator[int]:
    """The lock of a running stack, so that none starts meanwhile."""
    data.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    except BlockingIOError:
        raise StackRuns(f"a stack runs on {data}") from None
    finally:
        os.close(descriptor)
