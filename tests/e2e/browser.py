"""A headless Chromium, driven over its own protocol: one page, and expressions to be awaited in it."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

_FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--mute-audio", "--remote-debugging-port=0"),
    "--autoplay-policy=no-user-gesture-required",
)
_ANNOUNCES = "DevTools listening on "
_SECONDS = 60


class PageFailed(Exception):
    """The page threw something."""


class Page:
    """What happens in the page also arrives here: what it complains about, and what it asks of the server."""

    def __init__(self, socket: ClientConnection) -> None:
        self.complaints: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self._socket = socket
        self._session = ""
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def open(self, url: str) -> None:
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self._call(f"{domain}.enable")
        self._loaded.clear()
        await self._call("Page.navigate", url=url)
        async with asyncio.timeout(_SECONDS):
            await self._loaded.wait()

    async def run(self, expression: str, *arguments: Any) -> Any:
        """What the expression, called with these, comes to; promises are awaited. Raises PageFailed."""
        given = ", ".join(map(json.dumps, arguments))
        done = await self._call(
            "Runtime.evaluate",
            expression=f"({expression})({given})",
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in done:
            raise PageFailed(json.dumps(done["exceptionDetails"].get("exception", done["exceptionDetails"])))
        return done["result"].get("value")

    async def listen(self) -> None:
        async for raw in self._socket:
            message = json.loads(raw)
            if answer := self._answers.pop(message.get("id"), None):
                answer.set_result(message)
            else:
                self._happened(message.get("method", ""), message.get("params", {}))

    def _happened(self, event: str, said: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Network.requestWillBeSent":
            self.requests.append(said["request"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(said["exceptionDetails"]))
        elif event == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters, **session}))
        async with asyncio.timeout(_SECONDS):
            message = await answer
        if "error" in message:
            raise PageFailed(f"{method}: {message['error']}")
        return dict(message["result"])


@asynccontextmanager
async def browsing(chromium: Path, url: str) -> AsyncIterator[Page]:
    """The page at the address, in a browser that knows nothing of any other time."""
    with TemporaryDirectory(prefix="newvisions-browser-", ignore_cleanup_errors=True) as profile:
        # Its own sandbox refuses to work for root, as in most containers.
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
        command = (str(chromium), *_FLAGS, *sandbox, f"--user-data-dir={profile}")
        async with _started(command) as address, connect(address, max_size=None) as socket:
            page = Page(socket)
            listening = asyncio.create_task(page.listen())
            try:
                await page.open(url)
                yield page
            finally:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening


@asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncIterator[str]:
    """Where its protocol is spoken."""
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert child.stderr is not None
    try:
        async with asyncio.timeout(_SECONDS):
            address = await _announced(child.stderr)
        rest = asyncio.create_task(child.stderr.read())
        yield address
        rest.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        await child.wait()


async def _announced(said: asyncio.StreamReader) -> str:
    async for raw in said:
        line = raw.decode(errors="replace")
        if _ANNOUNCES in line:
            return line.partition(_ANNOUNCES)[2].strip()
    raise PageFailed("the browser ended before it was ready")


def page_with(sample: bytes, source: Path, directory: Path) -> Path:
    """A copy of the page that has a sample to upload beside it."""
    shutil.copytree(source, directory, dirs_exist_ok=True)
    (directory / "sample.mp3").write_bytes(sample)
    return directory
