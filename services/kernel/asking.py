"""How calls of other services go, as whoever asks sees it: with the way there and the deadline."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import grpc
from prometheus_client import Histogram

ASKING_SECONDS = Histogram(
    "rpc_client_seconds",
    "Time a call of another service took whoever asked, by method and outcome.",
    ["method", "code"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20),
)


@dataclass(slots=True)
class _Asked:
    """What was called is known to the stub only, a level below who measures."""

    method: str = ""


_asked: ContextVar[_Asked | None] = ContextVar("asked", default=None)


@contextmanager
def asking() -> Iterator[None]:
    """Around one call; nothing is counted when none was made."""
    # Not a token's reset: a stream may be closed in another context than it began in.
    asked = _Asked()
    _asked.set(asked)
    started, code = perf_counter(), grpc.StatusCode.CANCELLED
    try:
        yield
        code = grpc.StatusCode.OK
    except grpc.aio.AioRpcError as failure:
        code = failure.code()
        raise
    finally:
        _asked.set(None)
        if asked.method:
            ASKING_SECONDS.labels(asked.method, code.name).observe(perf_counter() - started)


def named(method: str) -> None:
    """Called with a full method name, "/package.Service/Method", whenever a stub is."""
    asked = _asked.get()
    # The first: a service in this process inherits the variable, and may ask others in turn.
    if asked is not None and not asked.method:
        asked.method = method.lstrip("/").replace("/", ".")


class NamedChannel:
    """A channel to another process whose calls say their name."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, method: str, *given: Any, **options: Any) -> Callable[..., Any]:
        return _naming(method, self._channel.unary_unary(method, *given, **options))

    def unary_stream(self, method: str, *given: Any, **options: Any) -> Callable[..., Any]:
        return _naming(method, self._channel.unary_stream(method, *given, **options))

    def stream_unary(self, method: str, *given: Any, **options: Any) -> Callable[..., Any]:
        return _naming(method, self._channel.stream_unary(method, *given, **options))

    def stream_stream(self, method: str, *given: Any, **options: Any) -> Callable[..., Any]:
        return _naming(method, self._channel.stream_stream(method, *given, **options))

    async def close(self) -> None:
        await self._channel.close()


def _naming(method: str, ask: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **options: Any) -> Any:
        named(method)
        return ask(*given, **options)

    return call
