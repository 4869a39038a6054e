"""A line of a log leads to its request, its trace and its place in it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.performer import Performer
from dev.stack import Stack
from tests.e2e.collector import Collector
from tests.e2e.test_traces import MEMO, SERVED, STAGES, new_trace

EVENTS = {"credits_reserved", "memo_spoken", "performance_succeeded", "note_composed", "rpc_finished"}


async def test_every_line_of_a_performance_has_its_ids(
    voiced: Performer, stack: Stack, collector: Collector
) -> None:
    trace_id, header = new_trace()
    answer = await voiced.http.post("/v1/perform", json=MEMO, headers=header)
    trace = await collector.whole(trace_id, *SERVED, *STAGES)
    lines = await lines_of(stack.logs, answer.headers["x-request-id"])
    assert {line["trace_id"] for line in lines} == {trace_id}
    spans = {seen.span.span_id.hex(): seen.name for seen in trace}
    assert {line["span_id"] for line in lines} <= spans.keys()
    # The stage, and not only the call.
    composed = {spans[line["span_id"]] for line in lines if line["event"] == "note_composed"}
    assert "perform compose" in composed


async def lines_of(logs: Path, request_id: str) -> list[dict[str, Any]]:
    """All that services wrote about a request, once they wrote what they write last."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while not {line["event"] for line in found} >= EVENTS:
            await asyncio.sleep(0.05)
            found = list(_lines(logs, request_id))
    return found


def _lines(logs: Path, request_id: str) -> Iterator[dict[str, Any]]:
    for file in logs.glob("*.log"):
        for line in file.read_text().splitlines():
            # Envoy's access log has the id of its request, and no trace.
            if request_id in line and file.name != "access.log":
                yield json.loads(line)
