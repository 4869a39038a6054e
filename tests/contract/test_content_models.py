"""What every text model promises, asked over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from random import Random

import httpx
import pytest

from dev.ports import free_port
from services.content.domain import ModelRefused, ModelUnavailable
from services.content.models.offline import OfflineModel
from services.content.models.openai_compatible import OpenAICompatibleModel
from services.content.models.phrasebook import load_phrasebooks
from services.content.ports import Model
from tests.contract.content_providers import (
    DIALECTS,
    GEMINI,
    KEY,
    LEXICON,
    NOTE,
    OPENAI,
    PROMPTS,
    Dialect,
    Provider,
    at,
    brief,
    composed,
    model_at,
    provider_running,
)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with provider_running() as provider:
        yield provider


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture(params=["gemini", "offline", "openai"])
async def model(request: pytest.FixtureRequest, provider: Provider) -> AsyncIterator[Model]:
    """Every model there is, with a provider that answers well behind the remote ones."""
    if request.param == "offline":
        yield OfflineModel(load_phrasebooks(), LEXICON, Random(3))
        return
    dialect = DIALECTS[request.param]
    provider.streams(*dialect.note(NOTE), end=dialect.end)
    async with model_at(dialect, at(provider)) as remote:
        yield remote


async def test_a_model_writes_a_note_that_says_the_value(model: Model) -> None:
    assert "Leo" in await composed(model, brief())


async def test_a_model_can_be_asked_again_with_the_reason(model: Model) -> None:
    assert "Leo" in await composed(model, brief(complaints=("It has 36 characters.",)))


async def test_a_model_says_who_it_is_what_it_writes_and_how_long_it_may_take(model: Model) -> None:
    assert model.name in {"gemini", "offline", "openai"}
    assert {"en", "es"} <= model.languages
    assert (model.seconds is None) == (model.name == "offline")


async def test_many_callers_at_once_each_get_a_note(model: Model) -> None:
    notes = await asyncio.gather(*(composed(model, brief()) for _ in range(16)))
    assert all("Leo" in note for note in notes)


async def test_a_note_arrives_while_it_is_written(dialect: Dialect, provider: Provider) -> None:
    provider.gate = asyncio.Event()
    provider.streams(*dialect.note(NOTE), end=dialect.end)
    # The first answer of some only says who speaks.
    provider.parts = [b"".join(provider.parts[:2]), *provider.parts[2:]]
    async with model_at(dialect, at(provider)) as remote, aclosing(remote.write(brief())) as pieces:
        heard = await asyncio.wait_for(anext(pieces), timeout=5)
        assert NOTE.startswith(heard)
        assert heard != NOTE
        provider.gate.set()
        assert heard + "".join([piece async for piece in pieces]) == NOTE


async def test_who_stops_listening_stops_the_writing(dialect: Dialect, provider: Provider) -> None:
    provider.gate = asyncio.Event()
    provider.streams(*dialect.note(NOTE), end=dialect.end)
    provider.parts = [b"".join(provider.parts[:2]), *provider.parts[2:]]
    async with model_at(dialect, at(provider)) as remote:
        async with aclosing(remote.write(brief())) as pieces:
            await anext(pieces)
        provider.gate.set()
        # The broken-off connection is not used for the next note.
        assert await composed(remote, brief()) == NOTE
    assert provider.connections == 2


async def test_a_refusal_is_told_from_a_failure(dialect: Dialect, provider: Provider) -> None:
    async with model_at(dialect, at(provider)) as remote:
        for answers in dialect.refusals:
            provider.streams(*answers)
            with pytest.raises(ModelRefused):
                await composed(remote, brief())
        for status, answer in dialect.refusing_statuses:
            provider.says(answer, status)
            with pytest.raises(ModelRefused):
                await composed(remote, brief())


async def test_a_provider_that_knows_no_streams_is_understood(provider: Provider) -> None:
    provider.says({"choices": [{"message": {"content": NOTE}, "finish_reason": "stop"}]})
    async with model_at(OPENAI, at(provider)) as remote:
        assert await composed(remote, brief()) == NOTE
    provider.says({"candidates": [{"content": {"parts": [{"text": NOTE}]}, "finishReason": "STOP"}]})
    async with model_at(GEMINI, at(provider)) as remote:
        assert await composed(remote, brief()) == NOTE


async def test_letters_that_are_cut_in_two_by_the_network_arrive_whole(
    dialect: Dialect, provider: Provider
) -> None:
    provider.streams(*dialect.note("Ich träumte von Leo, 今朝は静か\u2028です"), end=dialect.end)
    provider.parts = [bytes([byte]) for byte in b"".join(provider.parts)]
    async with model_at(dialect, at(provider)) as remote:
        assert await composed(remote, brief()) == "Ich träumte von Leo, 今朝は静か\u2028です"


async def test_a_provider_that_is_not_there_is_unavailable(dialect: Dialect) -> None:
    async with model_at(dialect, f"http://127.0.0.1:{free_port()}") as remote:
        with pytest.raises(ModelUnavailable) as failure:
            await composed(remote, brief())
    assert failure.value.cause == "connection"


async def test_connections_are_used_again(dialect: Dialect, provider: Provider) -> None:
    provider.streams(*dialect.note(NOTE), end=dialect.end)
    async with model_at(dialect, at(provider)) as remote:
        for _ in range(5):
            await composed(remote, brief())
    assert provider.connections == 1


async def test_gemini_is_asked_in_its_own_words(provider: Provider) -> None:
    provider.streams(*GEMINI.note(NOTE))
    async with model_at(GEMINI, at(provider)) as remote:
        assert await composed(remote, brief()) == NOTE
    asked = provider.asked[0]
    assert asked.path == "/v1beta/models/gemini-flash-lite:streamGenerateContent?alt=sse"
    assert asked.headers["x-goog-api-key"] == KEY
    assert asked.body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}
    assert asked.body["generationConfig"]["maxOutputTokens"] <= 400
    assert len(asked.body["safetySettings"]) == 4
    assert "80 to 120 characters" in GEMINI.said_by_us(asked)


async def test_an_openai_compatible_server_is_asked_in_its_own_words(provider: Provider) -> None:
    provider.streams(*OPENAI.note(NOTE), end=OPENAI.end)
    async with model_at(OPENAI, at(provider)) as remote:
        assert await composed(remote, brief()) == NOTE
    asked = provider.asked[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.body["model"], asked.body["stream"]) == ("small", True)
    assert asked.body["max_tokens"] <= 400
    assert [message["role"] for message in asked.body["messages"]] == ["system", "user"]


async def test_a_local_server_without_a_key_gets_no_authorization(provider: Provider) -> None:
    provider.streams(*OPENAI.note(NOTE), end=OPENAI.end)
    async with httpx.AsyncClient(base_url=f"{at(provider)}/v1") as http:
        await composed(OpenAICompatibleModel(http, "", "small", PROMPTS, 5), brief())
    assert "authorization" not in provider.asked[0].headers
