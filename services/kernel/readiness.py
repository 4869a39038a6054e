"""Whether a process should be sent requests: what it cannot work without answers."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import structlog
from prometheus_client import Gauge

log = structlog.get_logger()

DEPENDENCY_UP = Gauge(
    "server_dependency_up", "1 while what a service works with answers, else 0.", ["dependency"]
)

# Returns when it works; raises when it does not.
Check = Callable[[], Awaitable[object]]

_EVERY_SECONDS = 1.0
_CHECK_SECONDS = 1.0
# One lost answer is no reason to take a pod away from those it still serves.
_LOST_AFTER = 3


class Dependencies:
    """Checks every dependency each second; calls `tell(False)` when the first needed one is lost (three
    failures in a row), `tell(True)` when all of those are back."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        tell: Callable[[bool], Awaitable[None]],
        seconds: float = _EVERY_SECONDS,
        partly: Mapping[str, Check] | None = None,
    ) -> None:
        """What is only `partly` needed is shown, and no reason to send requests elsewhere."""
        self._needed = frozenset(checks)
        self._checks = {**checks, **(partly or {})}
        self._tell = tell
        self._seconds = seconds
        self._failures: Counter[str] = Counter()
        self._lost: set[str] = set()

    async def watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._seconds)

    async def look(self) -> None:
        lost_before = bool(self._lost & self._needed)
        answers = await asyncio.gather(*(_answers(check) for check in self._checks.values()))
        for name, failure in zip(self._checks, answers, strict=True):
            self._note(name, failure)
        lost = bool(self._lost & self._needed)
        if lost != lost_before:
            await self._tell(not lost)

    def _note(self, name: str, failure: str) -> None:
        DEPENDENCY_UP.labels(name).set(0 if failure else 1)
        if not failure:
            self._failures[name] = 0
            if name in self._lost:
                self._lost.discard(name)
                log.info("dependency_returned", dependency=name)
            return
        self._failures[name] += 1
        if self._failures[name] >= _LOST_AFTER and name not in self._lost:
            self._lost.add(name)
            log.error("dependency_lost", dependency=name, cause=failure)


async def _answers(check: Check) -> str:
    """Empty, or the kind of failure. Any failure is one: what a driver may raise is not known here."""
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:
        return type(error).__name__
    return ""
