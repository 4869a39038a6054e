"""One child process: started, waited for until it is ready, watched, stopped with all its children."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SPAWN = Path(__file__).with_name("spawn.py")
_LAST_LINES = 15


class ProcessNotReady(Exception):
    """A process ended, or did not become ready in time; the message carries its last log lines."""


# Returns whether the process does its work by now; a failure to connect is False.
ReadyCheck = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Spec:
    """What to run, and how to know that it works."""

    name: str
    command: Sequence[str]
    ready: ReadyCheck
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()
    ready_seconds: float = 60.0
    # Time between SIGTERM and SIGKILL.
    stop_seconds: float = 15.0
    # Asked before SIGTERM, so that nothing under way is cut off.
    drain: Callable[[], Awaitable[None]] | None = None


class Process:
    """A running Spec. Its output goes to `logs`/NAME.log."""

    def __init__(self, spec: Spec, child: asyncio.subprocess.Process, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.ended = asyncio.create_task(child.wait())
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    @classmethod
    async def start(cls, spec: Spec, logs: Path, directory: Path, holding: Sequence[int] = ()) -> "Process":
        """Start in `directory`, and return once it is ready; or raise ProcessNotReady and leave nothing.

        `holding` are file descriptors that stay open as long as the process lives.
        """
        log = logs / f"{spec.name}.log"
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_SPAWN), str(os.getpid()), *spec.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env={**os.environ, **spec.environment},
                # A group of its own: Ctrl-C reaches us alone, and we stop all in the right order.
                start_new_session=True,
                pass_fds=tuple(holding),
            )
        process = cls(spec, child, log)
        try:
            await process._become_ready()
        except BaseException:
            await process.stop()
            raise
        return process

    async def _become_ready(self) -> None:
        try:
            async with asyncio.timeout(self.spec.ready_seconds):
                while not await self.spec.ready():
                    await asyncio.wait([self.ended], timeout=0.03)
                    if self.ended.done():
                        raise ProcessNotReady(self.epitaph())
        except TimeoutError:
            seconds = f"{self.spec.ready_seconds:.0f}"
            text = f"{self.spec.name} was not ready after {seconds} s. {self._last_lines()}"
            raise ProcessNotReady(text) from None

    def epitaph(self) -> str:
        """How it ended, with the end of its log."""
        code = self.ended.result() if self.ended.done() else None
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return f"{self.spec.name} stopped by itself ({how}). {self._last_lines()}"

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return f"The end of {self.log}:\n" + "\n".join(f"  {line[:300]}" for line in lines)

    async def stop(self) -> None:
        """Drain, ask to stop, wait, then kill whatever is left of its process group."""
        if not self.ended.done():
            if self.spec.drain is not None:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(self.spec.stop_seconds):
                        await self.spec.drain()
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
            await asyncio.wait([self.ended], timeout=self.spec.stop_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        await self.ended
