"""The edge around every call: who may call, is the request valid, how does it end.

Handlers are wrapped here once, whether calls then come over a socket or from the same process.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from time import perf_counter
from typing import Any, Final

import grpc
import protovalidate
import structlog
from google.protobuf import descriptor, message_factory
from google.protobuf.message import Message

# Not public, and the only thing that tells a call that is over from a mistake of ours.
from grpc._cython.cygrpc import ExecuteBatchError
from prometheus_client import Counter, Histogram

from newvisions.edge.v1 import edge_pb2
from services.kernel.caller import (
    AdminRequired,
    Caller,
    OperatorRequired,
    ScopeMissing,
    SignInRequired,
    caller,
    from_metadata,
    is_caller,
    limit_to,
    set_caller,
)
from services.kernel.errors import ServiceError
from services.kernel.replay import Replays, idempotency_key, once
from services.kernel.statuses import STATUS, Crashed, Deadline, InvalidRequest, to_status
from services.kernel.tracing import server_span, trace_ids

log = structlog.get_logger()

CALL_SECONDS = Histogram(
    "rpc_seconds",
    "Time a call took, by method and outcome.",
    ["method", "code"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20),
)

STREAMS_BROKEN = Counter(
    "rpc_streams_broken_total",
    "Streams that failed after their first chunk: the gateway had said 200 by then.",
    ["method"],
)

# No message: a tag of a wire type that does not exist. A stream that fails after its first chunk
# would end like a complete one; the gateway cannot read this and breaks the HTTP response instead.
POISON: Final = b"\x0f"

# Clocks of timers are not exact.
_AT_ITS_END_SECONDS: Final = 0.01
# How long before its deadline a stream says that it failed; of a short one only a part.
_LAST_WORD_SECONDS, _LAST_WORD_SHARE = 0.5, 0.02

_validator = protovalidate.Validator()


def serialize(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def wrap(
    method: descriptor.MethodDescriptor, handler: grpc.RpcMethodHandler, replays: Mapping[str, Replays]
) -> grpc.RpcMethodHandler:
    """The same handler with the edge around it. Requests are streamed to services only, never by the gateway.

    `replays` has, by package, where answers are kept for who asks again.
    """
    policy = method.GetOptions().Extensions[edge_pb2.route]
    if handler.request_streaming:
        both = _both_ways(method, policy, handler.stream_stream)
        return grpc.stream_stream_rpc_method_handler(both, handler.request_deserializer, serialize)
    if handler.response_streaming:
        stream = _stream(method, policy, handler.unary_stream)
        return grpc.unary_stream_rpc_method_handler(stream, handler.request_deserializer, serialize)
    unary = _unary(method, policy, handler.unary_unary, replays)
    return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, serialize)


def _unary(
    method: descriptor.MethodDescriptor,
    policy: edge_pb2.RoutePolicy,
    serve: Callable[[Message, Any], Awaitable[Message]],
    replays: Mapping[str, Replays],
) -> Callable[[Message, Any], Awaitable[Message]]:
    answer: type[Message] = message_factory.GetMessageClass(method.output_type)

    async def call_once(request: Message, context: Any) -> Message:
        async def work() -> bytes:
            return (await serve(request, context)).SerializeToString()

        asked, remaining = _asked(request), context.time_remaining()
        seconds = None if remaining is None else remaining * 0.9
        kept = replays[method.containing_service.file.package]
        return answer.FromString(await once(kept, method.full_name, asked, work, seconds))

    async def call(request: Message, context: Any) -> Message:
        async with _edge(method, context):
            admit(policy, request)
            if policy.replayed and idempotency_key():
                return await call_once(request, context)
            return await serve(request, context)
        raise AssertionError("the edge swallows no failure")

    return call


def _asked(request: Any) -> bytes:
    """The request in one form: `me`, an empty user_id and the caller's own id are the same."""
    asked = type(request)()
    asked.CopyFrom(request)
    if "user_id" in asked.DESCRIPTOR.fields_by_name and is_caller(asked.user_id):
        asked.user_id = caller().user_id
    written: bytes = asked.SerializeToString(deterministic=True)
    return written


def _stream(
    method: descriptor.MethodDescriptor,
    policy: edge_pb2.RoutePolicy,
    serve: Callable[[Message, Any], AsyncGenerator[Message, None]],
) -> Callable[[Message, Any], AsyncIterator[Message | bytes]]:
    async def call(request: Message, context: Any) -> AsyncIterator[Message | bytes]:
        started = False
        async with _edge(method, context):
            admit(policy, request)
            try:
                async with (
                    aclosing(serve(request, context)) as made,
                    aclosing(_ending_before_deadline(made, context) if policy.access else made) as chunks,
                ):
                    async for chunk in chunks:
                        started = True
                        yield chunk
            except Exception as error:
                if not (started and policy.access):
                    raise
                STREAMS_BROKEN.labels(method.full_name).inc()
                log.error("stream_broken", method=method.full_name, cause=type(error).__name__)
                if not isinstance(error, ServiceError):
                    log.exception("rpc_crashed", method=method.full_name)
                yield POISON

    return call


async def _ending_before_deadline(
    chunks: AsyncGenerator[Message, None], context: Any
) -> AsyncGenerator[Message, None]:
    """Raises Deadline a moment before the call's own: a stream that meets that one ends like a whole one."""
    remaining = context.time_remaining()
    margin = 0.0 if remaining is None else min(_LAST_WORD_SECONDS, remaining * _LAST_WORD_SHARE)
    ends_at = None if remaining is None else asyncio.get_running_loop().time() + remaining - margin
    while True:
        try:
            async with asyncio.timeout_at(ends_at) as limit:
                chunk = await anext(chunks, None)
        except TimeoutError:
            if limit.expired():
                raise Deadline("It took too long.") from None
            raise
        if chunk is None:
            return
        yield chunk


def _both_ways(
    method: descriptor.MethodDescriptor,
    policy: edge_pb2.RoutePolicy,
    serve: Callable[[AsyncGenerator[Message, None], Any], AsyncGenerator[Message, None]],
) -> Callable[[AsyncIterator[Message], Any], AsyncIterator[Message]]:
    async def admitted(requests: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        async for request in requests:
            admit(policy, request)
            yield request

    async def call(requests: AsyncIterator[Message], context: Any) -> AsyncIterator[Message]:
        async with (
            _edge(method, context),
            aclosing(admitted(requests)) as asked,
            aclosing(serve(asked, context)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    return call


async def send_headers(context: Any, headers: Sequence[tuple[str, str]]) -> None:
    """Before the first chunk. Raises CancelledError when the caller is gone: then the transport refuses."""
    try:
        await context.send_initial_metadata(headers)
    except ExecuteBatchError as error:
        raise asyncio.CancelledError from error


@asynccontextmanager
async def _edge(method: descriptor.MethodDescriptor, context: Any) -> AsyncIterator[None]:
    """One status, one log event and one sample for each outcome, also for a caller who hung up."""
    who = from_metadata(context.invocation_metadata() or ())
    set_caller(who)
    limit_to(context.time_remaining())
    structlog.contextvars.bind_contextvars(request_id=who.request_id, user_id=who.user_id)
    started, code = perf_counter(), grpc.StatusCode.CANCELLED
    try:
        with server_span(method.full_name, who.traceparent):
            # For the lines that are written when the span has ended.
            structlog.contextvars.bind_contextvars(**trace_ids())
            yield
        code = grpc.StatusCode.OK
    except ServiceError as error:
        code = STATUS[error.kind]
        await context.abort_with_status(to_status(error))
    except asyncio.CancelledError:
        remaining = context.time_remaining()
        if remaining is not None and remaining <= _AT_ITS_END_SECONDS:
            # The call was given up by its own deadline, and not by a caller who left.
            code = grpc.StatusCode.DEADLINE_EXCEEDED
        raise
    except grpc.aio.AbortError:
        raise
    except Exception:
        code = grpc.StatusCode.INTERNAL
        log.exception("rpc_crashed", method=method.full_name)
        await context.abort_with_status(to_status(Crashed("Something went wrong on our side.")))
    finally:
        seconds = perf_counter() - started
        CALL_SECONDS.labels(method.full_name, code.name).observe(seconds)
        log.info("rpc_finished", method=method.full_name, code=code.name, seconds=round(seconds, 4))


def admit(policy: edge_pb2.RoutePolicy, request: Message) -> None:
    """Refuse callers the route is not for, and requests that break a rule of the contract.

    Methods without a route are called by other services only; the gateway does not know them.
    """
    who = caller()
    if policy.access not in {edge_pb2.ACCESS_UNSPECIFIED, edge_pb2.ACCESS_OPEN}:
        _admit_user(policy, who)
    violations = _validator.collect_violations(request, fail_fast=False)
    if violations:
        raise InvalidRequest(_sentence(violations[0].proto))


def _admit_user(policy: edge_pb2.RoutePolicy, who: Caller) -> None:
    if not who.user_id:
        raise SignInRequired("You are not signed in.")
    if policy.access == edge_pb2.ACCESS_ADMIN and not who.is_admin:
        raise AdminRequired("This is for administrators.")
    if policy.access == edge_pb2.ACCESS_OPERATOR and not who.is_operator:
        raise OperatorRequired("This is for operators.")
    if who.scopes is not None and policy.scope not in who.scopes:
        raise ScopeMissing("This API key may not do that.")


def _sentence(violation: Any) -> str:
    # A rule over the whole message has no field.
    elements = violation.field.elements if violation.field else ()
    path = ".".join(element.field_name for element in elements if element.field_name)
    rule = violation.message or "is not valid"
    if violation.rule_id == "string.pattern":
        rule = "does not have the right form"
    return f"{path}: {rule}." if path else f"The request {rule}."
