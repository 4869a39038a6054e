"""Whether performing would work now."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.kernel.client import LocalChannel
from services.kernel.errors import ServiceError
from services.perform.errors import NotReady

log = structlog.get_logger()

_CHECK_SECONDS, _FRESH_SECONDS = 1.0, 1.0


# Returns normally when it works.
Check = Callable[[], Awaitable[None]]


class Readiness:
    """Asks all at once, and at most once a second, however many callers want to know."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._down: list[str] = []
        self._checked_at = float("-inf")
        self._turn = asyncio.Lock()

    async def check(self) -> None:
        """Raises NotReady with the names of what is down."""
        async with self._turn:
            if monotonic() - self._checked_at > _FRESH_SECONDS:
                works = await asyncio.gather(*(_works(check) for check in self._checks.values()))
                self._down = [name for name, up in zip(self._checks, works, strict=True) if not up]
                self._checked_at = monotonic()
        if self._down:
            raise NotReady(f"Not available right now: {', '.join(self._down)}.")


async def _works(check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except (ServiceError, TimeoutError, grpc.aio.AioRpcError) as error:
        log.warning("check_failed", cause=type(error).__name__)
        return False
    return True


def serving(channel: Any) -> Check:
    """A service in this process serves as long as we do; others are asked."""

    async def local() -> None:
        return None

    async def remote() -> None:
        reply = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="readiness"), timeout=_CHECK_SECONDS
        )
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            raise NotReady("It says that it does not serve.")

    return local if isinstance(channel, LocalChannel) else remote
