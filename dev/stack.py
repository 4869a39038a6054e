"""The whole product on this machine: start in order of need, wait for health, stop in reverse."""

import asyncio
import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev import gateway
from dev.observing import Observation
from dev.ports import free_port, must_be_free
from dev.process import Process, ProcessNotReady, Spec
from dev.project import PYTHONPATH, ROOT, python
from dev.services import SERVICES, Plan, Provider
from gateway.settings import Limits

_LAST_WRITES_SECONDS = 30


class DataDirectoryInUse(Exception):
    """Another stack runs on the same data."""


class Stack:
    """`async with Stack(data_dir) as stack:` gives a stack that answers; leaving stops all of it.

    `processes` is "one" for all services in one process, "many" for a process each. `engine` is
    "local" for the real voice or "tone" for tests. A `port` of 0 is a free one. With a `provider`,
    voices are cloned there, and the engine speaks for those who have no place. `environment` goes to
    the services, over the stack's own settings. `client` is a directory whose files the gateway serves.
    With an `observation`, its programs run beside them. `of_process` is the environment of one process alone.
    """

    def __init__(  # noqa: PLR0913 - all but one by name, each with a default
        self,
        data_dir: Path,
        *,
        processes: str = "one",
        engine: str = "local",
        port: int = 0,
        limits: Limits | None = Limits(),  # noqa: B008 - frozen
        environment: Mapping[str, str] | None = None,
        provider: Provider | None = None,
        client: Path | None = None,
        observation: Observation | None = None,
        of_process: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.data = data_dir.resolve()
        self.logs = self.data / "logs"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._plan = Plan(
            self.data,
            processes,
            engine,
            {} if environment is None else environment,
            provider=provider,
            of_process=of_process or {},
        )
        self._limits = limits
        self._client = client
        self._observation = observation
        self._running: dict[str, Process] = {}
        self._lock = -1
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as cleanup:
            self.data.mkdir(parents=True, exist_ok=True)
            self._lock = await _take(self.data)
            cleanup.callback(os.close, self._lock)
            # Only now: a stack that was killed on this data may have had the port until here.
            must_be_free(self.port)
            for service in ("auth", "voice"):
                keep_secret(self.data / "secrets" / f"{service}.key")
            for name in ("voice", "perform"):
                (self.data / "blobs" / name).mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            sockets = gateway.short_directory()
            cleanup.callback(gateway.remove, sockets)
            cleanup.push_async_callback(self._stop_all)
            await self._start_all([*self._specs(sockets)])
            # For `newvisions admin`, which talks to the databases of a running stack.
            settings = self.data / "settings.json"
            settings.write_text(json.dumps(self.settings, indent=2))
            cleanup.callback(settings.unlink)
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cleanup.aclose()

    def _specs(self, sockets: Path) -> Iterator[Spec]:
        yield from self._plan.table()
        yield gateway.spec(self._plan, self.port, sockets, self._limits, self._client)
        if self._observation:
            yield from self._observation.specs(self.data / "observed", self.metrics)

    async def _start_all(self, specs: Sequence[Spec]) -> None:
        """Each as soon as those it needs are ready."""
        ready = {spec.name: asyncio.Event() for spec in specs}

        async def start(spec: Spec) -> None:
            for need in spec.needs:
                await ready[need].wait()
            self._running[spec.name] = await Process.start(spec, self.logs, ROOT, holding=(self._lock,))
            ready[spec.name].set()

        try:
            async with asyncio.TaskGroup() as group:
                for spec in specs:
                    group.create_task(start(spec))
        except* ProcessNotReady as failures:
            raise failures.exceptions[0] from None

    async def _stop_all(self) -> None:
        """In reverse order of readiness, so that nobody loses a server it still needs."""
        while self._running:
            _, process = self._running.popitem()
            await process.stop()

    def pid(self, name: str) -> int:
        """Of a process of the stack, for who wants to see it hang or die."""
        return self._running[name].pid

    @property
    def ports(self) -> Mapping[str, int]:
        """Where databases and services listen, by name."""
        return self._plan.ports

    async def revive(self, name: str) -> None:
        """Starts a process again that was killed. Raises ProcessNotReady."""
        process = self._running[name]
        await process.stop()
        self._running[name] = await Process.start(process.spec, self.logs, ROOT, holding=(self._lock,))

    async def first_crash(self) -> str:
        """Returns when a process of the stack ends by itself, with what there is to say about it."""
        ended = {process.ended: process for process in self._running.values()}
        done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        return ended[done.pop()].epitaph()

    async def admin_token(self) -> str:
        """An access token of an administrator."""
        return str((await self._administer("token", "create"))["access_token"])

    async def activation_codes(self, count: int) -> list[str]:
        return list((await self._administer("codes", "create", "--count", str(count)))["codes"])

    async def _administer(self, *arguments: str) -> dict[str, Any]:
        """What the auth service's command line answers. Raises ProcessNotReady."""
        answer = await administer(self.settings, *arguments, "--json")
        return dict(json.loads(answer))

    @property
    def metrics(self) -> dict[str, str]:
        """Where each process tells how it is doing, by its name."""
        paths = {"gateway": "/stats/prometheus", **dict.fromkeys(self._plan.processes, "/metrics")}
        return {name: f"http://127.0.0.1:{self._plan.metrics[name]}{path}" for name, path in paths.items()}

    @property
    def settings(self) -> dict[str, str]:
        """The services' environment."""
        return self._plan.settings(SERVICES)


async def administer(settings: Mapping[str, str], *arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *python("services.auth.cli", *arguments),
        cwd=ROOT,
        env={**os.environ, **PYTHONPATH, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await child.communicate()
    if child.returncode != 0:
        raise ProcessNotReady(f"services.auth.cli failed: {complaint.decode(errors='replace')[-2000:]}")
    return said.decode()


async def _take(data: Path) -> int:
    """A lock on the data, held until it is closed here and in every process of the stack.

    A stack that was killed leaves processes that are still writing their last; they are waited for.
    """
    descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(_LAST_WRITES_SECONDS):
            while not _locked(descriptor):  # noqa: ASYNC110 - a file lock sends no events
                await asyncio.sleep(0.1)
    except BaseException as failure:
        os.close(descriptor)
        if isinstance(failure, TimeoutError):
            raise DataDirectoryInUse(f"processes of a stack that was killed still run on {data}") from None
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _locked(descriptor: int) -> bool:
    """Raises DataDirectoryInUse while the owner lives."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode()
        if owner.isdecimal():
            with suppress(ProcessLookupError):
                os.kill(int(owner), 0)
                raise DataDirectoryInUse(f"another stack (process {owner}) runs on this data") from None
        return False
    return True


def keep_secret(path: Path) -> None:
    """Made once; whoever loses it loses every session, and what was sealed with it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        return
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(32)))
    fresh.replace(path)
