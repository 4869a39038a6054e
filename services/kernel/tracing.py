"""Traces: which calls and stages one request was made of. Switched on by OTEL_EXPORTER_OTLP_ENDPOINT.

A wrapper of a hundred lines instead of the ready-made instrumentation of gRPC, which costs 100 us a call and
takes a handler's exception for success. Switched off, a span costs a look at a variable.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.kernel.settings import SettingUnusable, at_fault

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_W3C: Final = TraceContextTextMapPropagator()
_span: ContextVar[Span | None] = ContextVar("span", default=None)


class Tracing:
    """Where spans go; one for a process, None while nobody listens."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self._provider: TracerProvider | None = None

    def open(self, services: str) -> None:
        """Sampling, queue sizes and the rest are OpenTelemetry's own variables. Raises SettingUnusable."""
        if not (endpoint := os.environ.get(ENDPOINT)):
            return
        if not endpoint.startswith(("http://", "https://")):
            raise SettingUnusable(f"setting {ENDPOINT}: must be like http://collector:4317")
        resource = Resource.create({"service.namespace": "newvisions", "service.name": services})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        with at_fault("OTEL_EXPORTER_OTLP_*, OTEL_BSP_*", "one of them is no such value", ValueError):
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self._provider.get_tracer("newvisions")

    def close(self) -> None:
        """Sends what is left. Takes as long as the collector lets it: not in the loop."""
        if self._provider is not None:
            self._provider.shutdown()
        self.tracer = self._provider = None


tracing: Final = Tracing()


@contextmanager
def server_span(method: str, traceparent: str) -> Iterator[None]:
    """Around a call that is served. The caller's span, if it has one, is the parent."""
    parent = _W3C.extract({"traceparent": traceparent}) if traceparent else Context()
    with _started(method, SpanKind.SERVER, parent):
        yield


@contextmanager
def client_span(peer: str) -> Iterator[None]:
    """Around a call of another service."""
    with _started(f"call {peer}", SpanKind.CLIENT, None):
        yield


@contextmanager
def stage(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Around a part of the work that is worth a line of its own in a trace."""
    with _started(name, SpanKind.INTERNAL, None, attributes):
        yield


def traceparent(otherwise: str = "") -> str:
    """What to tell a peer: the current span, or what we were told ourselves."""
    span = _span.get()
    if span is None:
        return otherwise
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span))
    return carrier.get("traceparent", otherwise)


def trace_ids() -> dict[str, str]:
    """By which a log line finds its place in a trace; nothing when nobody traces."""
    span = _span.get()
    if span is None:
        return {}
    at = span.get_span_context()
    return {"trace_id": format(at.trace_id, "032x"), "span_id": format(at.span_id, "016x")}


@contextmanager
def _started(
    name: str, kind: SpanKind, parent: Context | None, attributes: dict[str, Any] | None = None
) -> Iterator[None]:
    tracer, before = tracing.tracer, _span.get()
    if tracer is None:
        yield
        return
    around = parent if parent is not None else set_span_in_context(before) if before else Context()
    span = tracer.start_span(name, around, kind, attributes)
    _span.set(span)
    try:
        yield
    except BaseException as failure:
        span.set_status(Status(StatusCode.ERROR, _named(failure)))
        raise
    finally:
        # Not a token's reset: a generator may be closed in another context than it began in.
        _span.set(before)
        span.end()


def _named(failure: BaseException) -> str:
    """Of what kind; messages may quote what a user said."""
    reason = getattr(failure, "reason", "")
    return reason if isinstance(reason, str) and reason else type(failure).__name__
