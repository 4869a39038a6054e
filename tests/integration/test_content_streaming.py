"""Notes as they are written, over real sockets: from a model that streams, and from one that does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import grpc
import pytest

from newvisions.content.v1 import content_service_pb2 as pb
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceStub
from services.content.__main__ import open_service
from services.kernel.client import Channels
from services.kernel.server import Handlers
from services.kernel.statuses import api_error
from tests.contract.content_providers import GEMINI, OPENAI, Dialect, Provider, at, provider_running

FIRST = "I woke up with the seven of hearts in my head."
REST = " It is still with me now that the tea is ready, and I don't mind."


@pytest.fixture
async def provider(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    monkeypatch.setenv("CONTENT_VALKEY_URL", valkey_url)
    async with provider_running() as running:
        running.gate = asyncio.Event()
        yield running
        running.gate.set()


@pytest.fixture(params=[GEMINI, OPENAI], ids=["gemini", "openai"])
def dialect(request: pytest.FixtureRequest, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Dialect:
    spoken: Dialect = request.param
    if spoken is GEMINI:
        monkeypatch.setenv("CONTENT_GEMINI_API_KEY", "a-key")
        monkeypatch.setenv("CONTENT_GEMINI_BASE_URL", at(provider))
    else:
        monkeypatch.setenv("CONTENT_OPENAI_BASE_URL", f"{at(provider)}/v1")
        monkeypatch.setenv("CONTENT_OPENAI_MODEL", "small")
    return spoken


@asynccontextmanager
async def content() -> AsyncIterator[ContentServiceStub]:
    handlers, server = Handlers(), grpc.aio.server()
    async with open_service(handlers, Channels(handlers, frozenset({"auth", "content"}))):
        handlers.attach_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield ContentServiceStub(channel)  # type: ignore[no-untyped-call]
        await server.stop(grace=None)


def request() -> pb.StreamNoteRequest:
    value = "seven of hearts"
    return pb.StreamNoteRequest(routine_type="cards", value=value, language="en", user_id=str(uuid4()))


def writes(provider: Provider, dialect: Dialect, first: str, then: str) -> None:
    """The provider waits behind the first."""
    provider.streams(dialect.piece(first), *dialect.note(then), end=dialect.end)


async def test_the_first_sentence_comes_while_the_model_still_writes_the_second(
    provider: Provider, dialect: Dialect
) -> None:
    writes(provider, dialect, FIRST + REST[:8], REST[8:])
    async with content() as stub:
        call = stub.StreamNote(request(), timeout=10)
        assert (await call.read()).text == FIRST
        assert provider.gate is not None
        provider.gate.set()
        rest = await call.read()
    assert FIRST + rest.text == FIRST + REST
    assert (rest.written.ended_by, rest.written.streams) == ("", True)


async def test_a_model_that_falls_silent_behind_its_first_sentence_costs_no_note(
    provider: Provider, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTENT_BUDGET_SECONDS", "1")
    writes(provider, dialect, FIRST + " It", REST)
    async with content() as stub:
        first, rest = [message async for message in stub.StreamNote(request(), timeout=10)]
    assert first.text == FIRST
    assert 80 <= len(first.text + rest.text) <= 120
    assert rest.written.ended_by == "phrasebook"


async def test_a_refusal_before_anything_is_said_is_an_error(provider: Provider, dialect: Dialect) -> None:
    assert provider.gate is not None
    provider.gate.set()
    provider.streams(*dialect.refusals[0], end=dialect.end)
    async with content() as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.StreamNote(request(), timeout=10).read()
    error, _ = api_error(failure.value)
    assert error is not None
    assert error.error == "CONTENT_REFUSED"


async def test_the_built_in_composer_answers_in_one_message_and_says_that_it_does_not_stream(
    provider: Provider,
) -> None:
    async with content() as stub:
        [only] = [message async for message in stub.StreamNote(request(), timeout=10)]
        note = await stub.ComposeNote(
            pb.ComposeNoteRequest(routine_type="cards", value="Leo", language="en", user_id="u"), timeout=10
        )
    assert 80 <= len(only.text) <= 120
    assert (only.written.model, only.written.streams, note.streams) == ("offline", False, False)


async def test_who_is_not_asked_to_stream_is_told_that_it_would_be_faster(
    provider: Provider, dialect: Dialect
) -> None:
    assert provider.gate is not None
    provider.gate.set()
    writes(provider, dialect, FIRST, REST)
    async with content() as stub:
        asked = pb.ComposeNoteRequest(
            routine_type="cards", value="seven of hearts", language="en", user_id=str(uuid4())
        )
        note = await stub.ComposeNote(asked, timeout=10)
    assert (note.text, note.streams) == (FIRST + REST, True)
