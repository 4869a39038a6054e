"""One performance, one trace: through the gateway and every service, in both compositions."""

from uuid import uuid4

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dev.performer import Performer, accepted
from tests.e2e.collector import Collector, Seen

PERFORM = "newvisions.perform.v1.PerformService.Perform"
SERVED = (
    PERFORM,
    "newvisions.auth.v1.AuthService.ReserveCredits",
    "newvisions.voice.v1.VoiceService.LeaseVoice",
    "newvisions.content.v1.ContentService.ComposeNote",
    "newvisions.synthesis.v1.SynthesisService.Synthesize",
)
STAGES = ("perform reserve", "perform lease", "perform compose", "perform speak", "perform settle")
MEMO = {"routine_type": "cards", "value": "Seven of Hearts"}


def new_trace() -> tuple[str, dict[str, str]]:
    trace_id = uuid4().hex
    return trace_id, {"traceparent": f"00-{trace_id}-{uuid4().hex[:16]}-01"}


async def test_a_performance_is_one_trace_with_its_stages(voiced: Performer, collector: Collector) -> None:
    trace_id, header = new_trace()
    accepted(await voiced.http.post("/v1/perform", json=MEMO, headers=header))
    trace = await collector.whole(trace_id, *SERVED, *STAGES)
    spans = {seen.span.span_id: seen for seen in trace}
    assert "gateway" in {seen.service for seen in trace}
    roots = [seen for seen in trace if seen.span.parent_span_id not in spans]
    # The one whose parent is the client's own span.
    assert [seen.service for seen in roots] == ["gateway"]
    for method in SERVED[1:]:
        callee = named(trace, method)
        call = spans[callee.span.parent_span_id]
        assert call.span.kind == Span.SPAN_KIND_CLIENT
        assert spans[call.span.parent_span_id].name in STAGES
        assert ancestor(spans, callee, PERFORM)
    for stage in STAGES:
        assert ancestor(spans, named(trace, stage), PERFORM)


async def test_reserving_and_leasing_overlap_and_composing_comes_before_speaking(
    voiced: Performer, collector: Collector
) -> None:
    trace_id, header = new_trace()
    accepted(await voiced.http.post("/v1/perform", json=MEMO, headers=header))
    trace = await collector.whole(trace_id, *STAGES)
    reserve, lease = named(trace, "perform reserve").span, named(trace, "perform lease").span
    assert reserve.start_time_unix_nano < lease.end_time_unix_nano
    assert lease.start_time_unix_nano < reserve.end_time_unix_nano
    compose, speak = named(trace, "perform compose").span, named(trace, "perform speak").span
    assert compose.end_time_unix_nano <= speak.start_time_unix_nano


async def test_a_failed_call_is_marked_with_its_reason_and_nothing_private(
    performer: Performer, collector: Collector
) -> None:
    trace_id, header = new_trace()
    secret = "Queen of Diamonds"
    answer = await performer.http.post("/v1/perform", json={**MEMO, "value": secret}, headers=header)
    assert answer.json()["error"] == "VOICE_CLONE_REQUIRED"
    trace = await collector.whole(trace_id, PERFORM, "perform lease")
    status = named(trace, PERFORM).span.status
    assert (status.code, status.message) == (Status.STATUS_CODE_ERROR, "VOICE_CLONE_REQUIRED")
    assert not any(secret.encode() in seen.span.SerializeToString() for seen in trace)


async def test_an_export_that_is_refused_is_sent_again(performer: Performer, collector: Collector) -> None:
    collector.out_of_order = 1
    trace_id, header = new_trace()
    accepted(await performer.http.get("/v1/users/me", headers=header))
    await collector.whole(trace_id, "newvisions.auth.v1.AuthService.GetUser")


def named(trace: list[Seen], name: str) -> Seen:
    (found,) = [seen for seen in trace if seen.name == name]
    return found


def ancestor(spans: dict[bytes, Seen], of: Seen, name: str) -> bool:
    while of.span.parent_span_id in spans:
        of = spans[of.span.parent_span_id]
        if of.name == name:
            return True
    return False
