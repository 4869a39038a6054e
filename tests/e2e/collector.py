"""A collector of traces in memory, over the protocol that real ones speak."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Seen:
    span: Span
    # What it says of its process.
    resource: Mapping[str, str]

    @property
    def service(self) -> str:
        return self.resource["service.name"]

    @property
    def name(self) -> str:
        return str(self.span.name)


@dataclass
class Collector(TraceServiceServicer):  # type: ignore[misc]
    address: str = ""
    traces: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    # How many exports are refused before one is taken.
    out_of_order: int = 0

    async def Export(
        self, request: pb.ExportTraceServiceRequest, context: Any
    ) -> pb.ExportTraceServiceResponse:
        if self.out_of_order:
            self.out_of_order -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        for resource in request.resource_spans:
            attributes = {found.key: found.value.string_value for found in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.traces[span.trace_id.hex()].append(Seen(span, attributes))
        return pb.ExportTraceServiceResponse()

    async def whole(self, trace_id: str, *names: str) -> list[Seen]:
        """The trace, once it has spans of all these names, and the gateway's own."""
        async with asyncio.timeout(15):
            while not self._is_whole(trace_id, names):  # noqa: ASYNC110 - exporters send when they like
                await asyncio.sleep(0.05)
        return self.traces[trace_id]

    def _is_whole(self, trace_id: str, names: Iterable[str]) -> bool:
        seen = self.traces[trace_id]
        return set(names) <= {one.name for one in seen} and any(one.service == "gateway" for one in seen)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(grace=None)
