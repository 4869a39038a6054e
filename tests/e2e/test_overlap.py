"""What of a performance happens at once: in a trace, with an evicted voice and a slow text model."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import unquote

import httpx
import pytest

from dev.performer import Performer, accepted
from dev.ports import free_port
from dev.process import Process
from dev.project import ROOT
from dev.services import Provider
from dev.simulator.serving import spec
from dev.stack import Stack
from tests import samples
from tests.e2e.collector import Collector, Seen
from tests.e2e.conftest import GENEROUS, fresh_codes
from tests.e2e.test_traces import named, new_trace

pytestmark = pytest.mark.slow
VALUE = "Seven of Hearts"
# Shorter than what the content service allows for the rest of a note.
PAUSE_SECONDS = 1.5
STREAM_NOTE = "newvisions.content.v1.ContentService.StreamNote"
AS_WRITTEN = "newvisions.synthesis.v1.SynthesisService.SynthesizeAsWritten"
STEPS = ("compose", "await voice", "speak", "write", "store", "keep", "settle", "release")


@dataclass
class Theatre:
    stack: Stack
    admin: httpx.AsyncClient
    codes: Iterator[str]

    async def evict(self, performer: Performer) -> None:
        meta = accepted(await performer.http.get("/v1/users/me/voice/meta"))
        accepted(await self.admin.post("/v1/admin/voice-pool/evict", json={"voice_id": meta["voiceCloneId"]}))


@pytest.fixture(scope="module")
async def theatre(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> AsyncIterator[Theatre]:
    """In one process; over sockets, the tests of perform have the same in order of its calls."""
    data, port = tmp_path_factory.mktemp("theatre"), free_port()
    key = data / "provider.key"
    key.write_text("a key of the account's owner")
    provider = Provider(f"http://127.0.0.1:{port}", key)
    settings = {
        "CONTENT_GEMINI_API_KEY": key.read_text(),
        "CONTENT_GEMINI_BASE_URL": provider.base_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    arguments = ("--latency", "0.2", "--pause-seconds", str(PAUSE_SECONDS), "--key", key.read_text())
    stack = Stack(
        data,
        engine="tone",
        limits=GENEROUS,
        environment=settings,
        provider=provider,
    )
    async with AsyncExitStack() as cleanup:
        process = await Process.start(spec(port, *arguments), data, ROOT)
        cleanup.push_async_callback(process.stop)
        await cleanup.enter_async_context(stack)
        admin = await cleanup.enter_async_context(httpx.AsyncClient(base_url=stack.url, timeout=30))
        admin.headers["authorization"] = f"Bearer {await stack.admin_token()}"
        yield Theatre(stack, admin, iter(await fresh_codes(admin, 5)))


@pytest.fixture(scope="module")
async def performer(theatre: Theatre) -> AsyncIterator[Performer]:
    """With a voice, and a first performance: by its text the perform service knows that the model streams."""
    async with Performer.signed_up(theatre.stack.url, next(theatre.codes)) as signed_up:
        accepted(await signed_up.upload(samples.speech()))
        accepted(await signed_up.perform(VALUE))
        yield signed_up


def step(trace: list[Seen], name: str) -> tuple[int, int]:
    return span_of(trace, f"perform {name}")


def span_of(trace: list[Seen], name: str) -> tuple[int, int]:
    """When it began and ended."""
    span = named(trace, name).span
    return span.start_time_unix_nano, span.end_time_unix_nano


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


async def test_voice_and_words_are_made_at_once_and_the_rest_is_written_while_the_first_is_spoken(
    theatre: Theatre, performer: Performer, collector: Collector
) -> None:
    await theatre.evict(performer)
    trace_id, header = new_trace()
    order = {"routine_type": "cards", "value": VALUE}
    answer = await performer.http.post("/v1/perform", json=order, headers=header)
    memo = accepted(answer)
    assert memo["voiceSource"] == "provider_voice_id"
    trace = await collector.whole(trace_id, *(f"perform {name}" for name in STEPS), STREAM_NOTE, AS_WRITTEN)
    steps = {name: step(trace, name) for name in STEPS}
    reserve, lease = step(trace, "reserve"), step(trace, "lease")
    assert overlap(reserve, lease)
    assert overlap(steps["compose"], steps["await voice"])
    assert overlap(steps["write"], steps["speak"])
    assert overlap(span_of(trace, STREAM_NOTE), span_of(trace, AS_WRITTEN))
    # The words come after credits and voice are sure, audio after the voice is there.
    assert max(reserve[1], lease[1]) <= steps["compose"][0]
    assert steps["await voice"][1] <= steps["speak"][0]
    # Storing and paying come behind the last byte.
    for name in ("store", "keep", "settle", "release"):
        assert steps["speak"][1] <= steps[name][0], name


async def test_a_listener_hears_the_first_sentence_before_the_second_is_written(
    theatre: Theatre, performer: Performer
) -> None:
    async with performer.stream(VALUE) as response:
        headers = response.headers
        audio = b"".join([chunk async for chunk in response.aiter_bytes()])
    assert headers["voice-note-text-whole"] == "false"
    recordings = accepted(await performer.http.get("/v1/recordings"))["recordings"]
    [kept] = [each for each in recordings if each["id"] == headers["recording-id"]]
    beginning = unquote(headers["voice-note-text"])
    assert kept["text"].startswith(f"{beginning} ")
    assert 80 <= len(kept["text"]) <= 120
    assert len(audio) == kept["size_bytes"]


async def test_a_note_that_is_written_to_its_end_first_is_spoken_after_it(performer: Performer) -> None:
    """A value with a stop in it is not begun early: what is heard first is all there is."""
    async with performer.stream("Mr. Nobody") as response:
        headers = response.headers
        assert [chunk async for chunk in response.aiter_bytes()]
    assert headers["voice-note-text-whole"] == "true"
    assert 80 <= len(unquote(headers["voice-note-text"])) <= 120
