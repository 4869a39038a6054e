"""Each way in which a provider can fail has one cause in the log and in the metrics."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.content.domain import ModelRefused, ModelUnavailable, violations
from tests.contract.content_providers import (
    DIALECTS,
    GEMINI,
    LEXICON,
    NOTE,
    Dialect,
    Provider,
    at,
    brief,
    composed,
    model_at,
    provider_running,
)

VALUES = {
    "en": "Leo", "es": "Leo", "fr": "Lion", "de": "Löwe", "it": "Leone", "pt": "Leão", "ru": "Лев",
    "zh": "狮子座", "ja": "獅子座", "ko": "사자자리",
}  # fmt: skip


@pytest.fixture(scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    async with running(Options(latency=0.0, hang_seconds=20.0)) as simulator:
        yield simulator


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with provider_running() as provider:
        yield provider


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


async def cause_of_failure(dialect: Dialect, url: str, seconds: float = 5) -> str:
    async with model_at(dialect, url, seconds) as remote:
        with pytest.raises(ModelUnavailable) as failure:
            await asyncio.wait_for(composed(remote, brief()), timeout=10)
    return failure.value.cause


@pytest.mark.parametrize("language", VALUES)
async def test_gemini_writes_a_note_in_every_language_it_is_told_of(
    simulator: Simulator, language: str
) -> None:
    about = brief(VALUES[language], language)
    async with model_at(GEMINI, simulator.url) as remote:
        assert violations(await composed(remote, about), about, LEXICON) == ()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.CONCURRENT, "rate_limited"),
        (Fault.BUSY, "server_error"),
        (Fault.FAILED_BEFORE, "server_error"),
        (Fault.FAILED_AFTER, "server_error"),
        (Fault.DROPPED, "connection"),
        (Fault.GARBAGE, "unreadable"),
    ],
)
async def test_each_fault_of_gemini_has_its_cause(simulator: Simulator, fault: Fault, cause: str) -> None:
    await simulator.ask_for("stream", fault)
    assert await cause_of_failure(GEMINI, simulator.url) == cause


@pytest.mark.parametrize("fault", [Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER])
async def test_a_gemini_that_says_nothing_is_given_up_on(simulator: Simulator, fault: Fault) -> None:
    await simulator.ask_for("stream", fault)
    assert await cause_of_failure(GEMINI, simulator.url, seconds=0.3) == "timeout"


async def test_a_slow_gemini_is_heard_out_and_a_refusing_one_believed(simulator: Simulator) -> None:
    await simulator.ask_for("stream", Fault.SLOW_BODY, Fault.REFUSAL)
    async with model_at(GEMINI, simulator.url) as remote:
        assert "Leo" in await composed(remote, brief())
        with pytest.raises(ModelRefused):
            await composed(remote, brief())


@pytest.mark.parametrize(("ended", "cause"), [("RECITATION", "recitation"), ("LANGUAGE", "language")])
@pytest.mark.parametrize("said", ["", "I woke up with Leo"])
async def test_a_gemini_that_gives_up_on_its_own_text_does_not_refuse_the_value(
    provider: Provider, said: str, ended: str, cause: str
) -> None:
    provider.streams(GEMINI.piece(said), {"candidates": [{"finishReason": ended}]})
    assert await cause_of_failure(GEMINI, at(provider)) == cause


async def test_gemini_is_told_that_its_key_is_wrong() -> None:
    async with running(Options(latency=0.0, key="another-key")) as simulator:
        assert await cause_of_failure(GEMINI, simulator.url) == "key_refused"


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (400, "request_rejected"),
        (422, "request_rejected"),
        (401, "key_refused"),
        (403, "key_refused"),
        (404, "not_found"),
        (429, "rate_limited"),
        (500, "server_error"),
        (503, "server_error"),
        (302, "server_error"),
    ],
)
async def test_a_failing_provider_is_unavailable_with_its_cause(
    dialect: Dialect, provider: Provider, status: int, cause: str
) -> None:
    for answer in ({"error": {"message": "no", "code": status}}, b"<html>no"):
        provider.says(answer, status)
        assert await cause_of_failure(dialect, at(provider)) == cause
    # One question, one request: retries are not the adapter's business.
    assert len(provider.asked) == 2


async def test_a_stream_that_turns_into_an_error_has_the_errors_cause(
    dialect: Dialect, provider: Provider
) -> None:
    first = dialect.note(NOTE)[:2]
    for code, cause in ((429, "rate_limited"), (500, "server_error"), ("overloaded", "server_error")):
        provider.streams(*first, {"error": {"code": code, "message": "no"}})
        assert await cause_of_failure(dialect, at(provider)) == cause


async def test_a_note_that_was_not_finished_is_no_note(dialect: Dialect, provider: Provider) -> None:
    provider.streams(*dialect.note(NOTE)[:2], end=dialect.end)
    assert await cause_of_failure(dialect, at(provider)) == "cut_off"


async def test_a_connection_that_breaks_in_the_middle_is_a_failure(
    dialect: Dialect, provider: Provider
) -> None:
    provider.streams(*dialect.note(NOTE), end=dialect.end)
    whole = len(b"".join(provider.parts))
    for cut in (0, 40, whole // 2, whole - 1):
        provider.cut_after = cut
        assert await cause_of_failure(dialect, at(provider)) == "connection"


async def test_an_answer_of_another_shape_is_unavailable(dialect: Dialect, provider: Provider) -> None:
    for answer in (*dialect.unreadable, [], "text", None):
        provider.says(answer)
        assert await cause_of_failure(dialect, at(provider)) == "unreadable"
        provider.streams(answer)
        assert await cause_of_failure(dialect, at(provider)) == "unreadable"


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/html"])
@pytest.mark.parametrize("garbage", [b"", b"<html>", b"{", b"data: {\n\n", b"data: \xff\n\n", b" " * 300_000])
async def test_an_answer_that_is_no_json_or_too_much_is_unavailable(
    dialect: Dialect, provider: Provider, garbage: bytes, kind: str
) -> None:
    provider.content_type, provider.parts = kind, [garbage]
    assert await cause_of_failure(dialect, at(provider)) == "unreadable"


async def test_a_silent_provider_is_given_up_on_in_time(dialect: Dialect, provider: Provider) -> None:
    provider.silent = True
    assert await cause_of_failure(dialect, at(provider), seconds=0.2) == "timeout"
