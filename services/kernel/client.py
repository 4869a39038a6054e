"""Calling another service: over a persistent channel, or inside this process without a socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from time import monotonic
from typing import Any

import grpc

from services.kernel.asking import NamedChannel, asking, named
from services.kernel.caller import caller, within_limit
from services.kernel.errors import Kind, ServiceError
from services.kernel.settings import SettingUnusable
from services.kernel.statuses import Deadline, api_error
from services.kernel.tracing import client_span, traceparent


class PeerUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


def outgoing(seconds: float) -> dict[str, Any]:
    """The options of every call to a peer: a deadline within the caller's own, and the request's ids."""
    who = caller()
    metadata = [("x-request-id", who.request_id), ("x-user-id", who.user_id)]
    if parent := traceparent(otherwise=who.traceparent):
        metadata.append(("traceparent", parent))
    return {"timeout": within_limit(seconds), "metadata": tuple(metadata)}


@contextmanager
def peer(name: str, known: Mapping[str, type[ServiceError]] | None = None) -> Iterator[None]:
    """Turn a peer's failure into our own on the spot.

    Reasons in `known` become those errors; other reasons of the peer pass on unchanged; anything
    that is not an outcome of the peer becomes PeerUnavailable or Deadline.
    """
    try:
        with client_span(name), asking():
            yield
    except grpc.aio.AioRpcError as failure:
        error, retry = api_error(failure)
        if error is not None and error.error in (known or {}):
            raise (known or {})[error.error](error.message) from failure
        if error is not None:
            raise _passed_on(error.error, error.http_status, error.action, retry)(error.message) from failure
        if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise Deadline(f"The {name} service took too long.") from failure
        raise PeerUnavailable(f"The {name} service cannot be reached right now.") from failure


def _passed_on(reason: str, status: int, action: str, retry: int) -> type[ServiceError]:
    body = {"kind": Kind(status), "reason": reason, "action": action, "retry_after_seconds": retry}
    return type("PeerRefused", (ServiceError,), body)


class Channels:
    """Finds the way to each service: inside the process when it is served here, else by address."""

    def __init__(
        self,
        handlers: Mapping[str, grpc.RpcMethodHandler],
        local: frozenset[str],
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Without credentials, calls to other processes are in clear."""
        self._handlers = handlers
        self._local = local
        self._credentials = credentials
        self._open: dict[str, NamedChannel] = {}

    def to(self, service: str, address: str) -> Any:
        """A channel for a generated stub. `address` is only needed when the service runs elsewhere."""
        if service in self._local:
            return LocalChannel(self._handlers)
        if not address:
            raise SettingUnusable(
                f"setting ..._{service.upper()}_ADDRESS: is not set, and {service} is not served here"
            )
        if address not in self._open:
            self._open[address] = self._opened(address)
        return self._open[address]

    def _opened(self, address: str) -> NamedChannel:
        if self._credentials is None:
            return NamedChannel(grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS))
        return NamedChannel(grpc.aio.secure_channel(address, self._credentials, options=CHANNEL_OPTIONS))

    async def close(self) -> None:
        for channel in self._open.values():
            await channel.close()


MAX_MESSAGE_BYTES = 8 << 20
CHANNEL_OPTIONS = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 5000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Peers are near; the proxy that the environment may name is the way out, to providers.
    ("grpc.enable_http_proxy", 0),
)


class LocalChannel:
    """Stands in for grpc.aio.Channel when both ends live in one process."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler]) -> None:
        self._handlers = handlers

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Callable[..., "LocalCall"]:
        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> LocalCall:
            named(method)
            return LocalCall(self._handlers[method], request, timeout, metadata)

        return call

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Callable[..., "LocalStream"]:
        def call(request: Any, timeout: float | None = None, metadata: Any = ()) -> LocalStream:
            named(method)
            return LocalStream(self._handlers[method].unary_stream, request, timeout, metadata)

        return call

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Callable[..., "LocalStream"]:
        def call(requests: Any, timeout: float | None = None, metadata: Any = ()) -> LocalStream:
            named(method)
            return LocalStream(self._handlers[method].stream_stream, requests, timeout, metadata)

        return call

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{method}: streams with a single answer are not used in this product")


@dataclass(slots=True)
class LocalContext:
    """The part of grpc.aio.ServicerContext that our servicers and the edge use."""

    metadata: tuple[tuple[str, str | bytes], ...]
    ends_at: float | None

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self.metadata

    def time_remaining(self) -> float | None:
        return None if self.ends_at is None else self.ends_at - monotonic()

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Only the gateway reads headers, and it is never in this process."""

    async def abort_with_status(self, status: Any) -> None:
        raise _Aborted(status)


class _Aborted(grpc.aio.AbortError):  # type: ignore[misc]
    def __init__(self, status: Any) -> None:
        super().__init__()
        self.status = status


def _failure(code: grpc.StatusCode, details: str, trailing: Any = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)


@contextmanager
def _as_rpc_errors() -> Iterator[None]:
    try:
        yield
    except _Aborted as aborted:
        status = aborted.status
        raise _failure(status.code, status.details, status.trailing_metadata) from None
    except TimeoutError:
        raise _failure(grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded") from None


def _fresh(timeout: float | None, metadata: Any) -> tuple[LocalContext, Context]:
    """The callee's own context variables: nothing it binds leaks to its caller."""
    ends_at = None if timeout is None else monotonic() + timeout
    return LocalContext(tuple(metadata or ()), ends_at), copy_context()


class LocalCall:
    """A unary call that runs at once, like one of grpc.aio's."""

    def __init__(
        self, handler: grpc.RpcMethodHandler, request: Any, timeout: float | None, metadata: Any
    ) -> None:
        context, variables = _fresh(timeout, metadata)

        async def run() -> Any:
            async with asyncio.timeout(timeout):
                return await handler.unary_unary(request, context)

        self._task = asyncio.create_task(run(), context=variables)

    def __await__(self) -> Generator[Any, None, Any]:
        with _as_rpc_errors():
            return (yield from self._task)

    def cancel(self) -> bool:
        return self._task.cancel()


class LocalStream:
    """A server stream, asked for by one request or a stream: each message is made when it is asked for."""

    def __init__(
        self,
        serve: Callable[[Any, LocalContext], AsyncGenerator[Any, None]],
        asked: Any,
        timeout: float | None,
        metadata: Any,
    ) -> None:
        self._context, self._variables = _fresh(timeout, metadata)
        self._messages = serve(asked, self._context)
        self._step: asyncio.Task[Any] | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            while (message := await self.read()) is not grpc.aio.EOF:
                yield message
        finally:
            await self._close()

    async def read(self) -> Any:
        remaining = self._context.time_remaining()
        self._step = asyncio.create_task(_next(self._messages), context=self._variables)
        with _as_rpc_errors():
            try:
                async with asyncio.timeout(remaining):
                    return await self._step
            except BaseException:
                await self._close()
                raise

    def cancel(self) -> bool:
        return bool(self._step and self._step.cancel())

    async def _close(self) -> None:
        if self._step is not None and not self._step.done():
            self._step.cancel()
            await asyncio.wait([self._step])
        await asyncio.create_task(self._messages.aclose(), context=self._variables)


async def _next(messages: AsyncGenerator[Any, None]) -> Any:
    return await anext(messages, grpc.aio.EOF)
