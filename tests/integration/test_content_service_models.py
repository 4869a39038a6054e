"""The content service with a remote model behind it: languages, fallbacks and time, as callers see them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from uuid import uuid4

import grpc
import pytest
from prometheus_client import REGISTRY

from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from newvisions.content.v1 import content_service_pb2 as pb
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceStub
from newvisions.edge.v1 import edge_pb2
from services.content.__main__ import open_service
from services.kernel.client import Channels
from services.kernel.server import Handlers
from services.kernel.statuses import api_error
from tests.contract.content_providers import OPENAI, provider_running

VALUES = {
    "en-GB": "seven of hearts", "es-MX": "siete de corazones", "fr": "sept de cœur", "de-AT": "Herz Sieben",
    "it": "sette di cuori", "pt-BR": "sete de copas", "ru": "семёрка червей", "zh-Hans": "红桃七",
    "ja": "ハートの7", "ko": "하트 7",
}  # fmt: skip


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Simulator]:
    async with running(Options(latency=0.0, hang_seconds=20.0)) as simulator:
        yield simulator


@pytest.fixture
async def simulator(
    server: Simulator, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Simulator]:
    """A Gemini that the service is set up to ask, before the offline composer."""
    monkeypatch.setenv("CONTENT_VALKEY_URL", valkey_url)
    monkeypatch.setenv("CONTENT_GEMINI_API_KEY", "a-key")
    monkeypatch.setenv("CONTENT_GEMINI_BASE_URL", server.url)
    await server.reset()
    yield server


@pytest.fixture(scope="module")
async def with_gemini(server: Simulator, valkey_url: str) -> AsyncIterator[ContentServiceStub]:
    """One that is never set up anew, for tests that need no settings of their own."""
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("CONTENT_VALKEY_URL", valkey_url)
            environment.setenv("CONTENT_GEMINI_API_KEY", "a-key")
            environment.setenv("CONTENT_GEMINI_BASE_URL", server.url)
            stub = await stack.enter_async_context(content())
        yield stub


@asynccontextmanager
async def content() -> AsyncIterator[ContentServiceStub]:
    handlers = Handlers()
    channels = Channels(handlers, frozenset({"auth", "content"}))
    async with open_service(handlers, channels):
        yield ContentServiceStub(channels.to("content", ""))  # type: ignore[no-untyped-call]


def request(**changes: str) -> pb.ComposeNoteRequest:
    fields = {"routine_type": "cards", "value": "seven of hearts", "language": "en", "user_id": str(uuid4())}
    return pb.ComposeNoteRequest(**{**fields, **changes})


def failed(failure: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> edge_pb2.ApiError:
    error, _ = api_error(failure.value)
    assert error is not None
    return error


@pytest.mark.parametrize("language", VALUES)
async def test_a_remote_model_writes_in_ten_languages(with_gemini: ContentServiceStub, language: str) -> None:
    asked = request(language=language, value=VALUES[language])
    note = await with_gemini.ComposeNote(asked, timeout=10)
    assert note.text.count(VALUES[language]) == 1
    assert (note.model, list(note.fallback_from), note.cached) == ("gemini", [], False)


async def test_a_user_is_never_given_the_same_note_again_by_a_remote_model(
    with_gemini: ContentServiceStub,
) -> None:
    same = request()
    notes = [(await with_gemini.ComposeNote(same, timeout=10)).text for _ in range(25)]
    assert len(set(notes)) == 25


@pytest.mark.parametrize(
    "fault", [Fault.CONCURRENT, Fault.FAILED_BEFORE, Fault.DROPPED, Fault.GARBAGE, Fault.TIMEOUT_BEFORE]
)
async def test_a_provider_that_fails_is_a_visible_fallback(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("CONTENT_GEMINI_SECONDS", "0.5")
    await simulator.ask_for("stream", fault, fault)
    async with content() as stub:
        note = await stub.ComposeNote(request(), timeout=10)
        thought = await stub.GenerateThought(
            pb.GenerateThoughtRequest(topic="animals", value="elephant", language="en"),
            metadata=(("x-user-id", str(uuid4())), ("x-request-id", str(uuid4()))),
            timeout=10,
        )
    for answer in (note, thought):
        assert (answer.model, list(answer.fallback_from)) == ("offline", ["gemini"])


async def test_only_the_first_two_performances_wait_for_a_provider_that_hangs(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTENT_GEMINI_SECONDS", "0.5")
    await simulator.ask_for("stream", *[Fault.TIMEOUT_BEFORE] * 3)
    took = []
    async with content() as stub:
        for _ in range(3):
            began = perf_counter()
            note = await stub.ComposeNote(request(), timeout=10)
            took.append(perf_counter() - began)
            assert (note.model, list(note.fallback_from)) == ("offline", ["gemini"])
    assert min(took[:2]) >= 0.5 > took[2]
    assert (await simulator.audit())["requests"] == {"stream": 2}


async def test_a_refusal_is_422_and_never_a_fallback(simulator: Simulator) -> None:
    await simulator.ask_for("stream", Fault.REFUSAL)
    async with content() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.ComposeNote(request(), timeout=10)
    assert (failed(failure).error, failed(failure).http_status) == ("CONTENT_REFUSED", 422)
    assert (await simulator.audit())["requests"] == {"stream": 1}


async def test_models_are_asked_in_the_order_of_the_settings_within_the_budget(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider_running() as silent:
        silent.silent = True
        monkeypatch.setenv("CONTENT_MODELS", "openai,gemini,offline")
        monkeypatch.setenv("CONTENT_OPENAI_BASE_URL", f"http://127.0.0.1:{silent.port}/v1")
        monkeypatch.setenv("CONTENT_OPENAI_MODEL", "small")
        monkeypatch.setenv("CONTENT_OPENAI_SECONDS", "0.3")
        async with content() as stub:
            note = await stub.ComposeNote(request(), timeout=10)
            assert (note.model, list(note.fallback_from)) == ("gemini", ["openai"])
        monkeypatch.setenv("CONTENT_OPENAI_SECONDS", "10")
        monkeypatch.setenv("CONTENT_BUDGET_SECONDS", "0.3")
        async with content() as stub:
            began = perf_counter()
            note = await stub.ComposeNote(request(), timeout=10)
            assert (note.model, list(note.fallback_from)) == ("offline", ["openai", "gemini"])
            assert perf_counter() - began < 3


async def test_only_the_offline_composer_leaves_only_its_languages(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with content() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.ComposeNote(request(language="nl"), timeout=10)
        assert "de, en, es, fr, it, ja, ko, pt, ru, zh" in failed(failure).message
    monkeypatch.setenv("CONTENT_MODELS", "offline")
    async with content() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.ComposeNote(request(language="ja"), timeout=10)
        assert "en, es" in failed(failure).message
        assert "ja," not in failed(failure).message


async def test_a_note_that_breaks_the_rules_is_asked_for_again_with_the_reason(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider_running() as stubborn:
        stubborn.streams(*OPENAI.note("I woke up with the card seven of hearts."), end=OPENAI.end)
        monkeypatch.setenv("CONTENT_MODELS", "openai,offline")
        monkeypatch.setenv("CONTENT_OPENAI_BASE_URL", f"http://127.0.0.1:{stubborn.port}/v1")
        monkeypatch.setenv("CONTENT_OPENAI_MODEL", "small")
        async with content() as stub:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await stub.ComposeNote(request(), timeout=10)
    assert (failed(failure).error, failed(failure).http_status) == ("CONTENT_RULES_NOT_MET", 502)
    said = [OPENAI.said_by_user(asked) for asked in stubborn.asked]
    assert len(said) == 3
    assert "80 to 120 are allowed" not in said[0]
    assert all("80 to 120 are allowed" in again and "card" in again for again in said[1:])


async def test_how_long_the_first_words_took_is_measured(with_gemini: ContentServiceStub) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("content_first_token_seconds_count", {"model": "gemini"}) or 0

    before = counted()
    await with_gemini.ComposeNote(request(), timeout=10)
    assert counted() == before + 1
