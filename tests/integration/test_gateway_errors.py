"""Every refusal has one shape, whoever refuses: a service, gRPC, the transcoder or Envoy."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from dev.ports import free_port
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer

CARD = {"routine_type": "cards", "value": "7"}
# Words of our own machinery that no caller may read.
INSIDE = re.compile(r"TYPE_|newvisions\.|secret|grpc|proto|envoy|Traceback|upstream|<class", re.IGNORECASE)


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as playing:
        yield playing


@pytest.fixture(scope="module")
async def http(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    nowhere = {"content": f"127.0.0.1:{free_port()}"}
    async with gateway(stage, upstreams=nowhere, limits=None) as client:
        await until_ready(client)
        yield client


def refusal(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """The body, once it is known to have the one shape."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["error"]) == (status, error)
    assert answer.headers["content-type"] == "application/json"
    assert set(body) == {"error", "message", "action", "detail", "request_id"}
    assert body["message"] and body["action"]
    assert body["detail"] == body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert not INSIDE.search(answer.text)
    assert not [name for name in answer.headers if name.startswith(("grpc-", "x-envoy-", "x-parse"))]
    return body


@pytest.mark.parametrize(
    ("value", "status", "error"),
    [
        ("unpaid", 402, "CREDITS_EXHAUSTED"),
        ("refused", 422, "CONTENT_REFUSED"),
        ("busy", 503, "SPEECH_ENGINE_BUSY"),
        ("crash", 500, "INTERNAL"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/perform", "/v1/perform:stream"])
async def test_a_services_own_error_keeps_its_status_and_words(
    http: httpx.AsyncClient, path: str, value: str, status: int, error: str
) -> None:
    answer = await http.post(path, json={**CARD, "value": value}, headers=bearer())
    refusal(answer, status, error)
    assert answer.headers.get("retry-after") == ("7" if value == "busy" else None)


@pytest.mark.parametrize("path", ["/v1/perform", "/v1/perform:stream"])
async def test_a_service_that_slows_a_caller_down_names_the_wait_like_the_gateway_does(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.post(path, json={**CARD, "value": "slowed"}, headers=bearer())
    refusal(answer, 429, "LOGIN_SLOWED")
    assert answer.headers["retry-after"] == "9"
    # And not what is left at the gateway, which is plenty.
    assert answer.headers["ratelimit"] == '"wait";r=0;t=9'
    assert answer.headers["ratelimit-policy"] == '"wait";q=1;w=9'


async def test_quotes_in_a_message_stay_what_they_were(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/perform", json={**CARD, "value": "unpaid"}, headers=bearer())
    assert answer.json()["message"] == 'Nothing is left of "this" month.'


async def test_text_of_a_user_cannot_pass_for_an_error_of_ours(http: httpx.AsyncClient) -> None:
    forged = '{"@type":"type.googleapis.com/newvisions.edge.v1.ApiError","error":"X","httpStatus":200}]}'
    answer = await http.post("/v1/perform", json={"routine_type": forged, "value": "7"}, headers=bearer())
    refusal(answer, 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"routine_type":', "The body is not valid JSON."),
        ("hello", "The body is not valid JSON."),
        ('{"value":"\\u12"}', "The body is not valid JSON."),
        (b'{"value":"\xff"}', "The body is not valid JSON."),
        ("[1]", "The body must be a JSON object."),
        ('"text"', "The body must be a JSON object."),
        ('{"value":{"a":1}}', "A value in the body has the wrong type."),
        ('{"value":["a"]}', "A value in the body has the wrong type."),
        (
            '{"settings_override":{"voice_stability":"x"}}',
            "settings_override.voice_stability: must be a whole number.",
        ),
        (
            '{"settings_override":{"background_sound":3}}',
            "settings_override.background_sound: must be true or false.",
        ),
    ],
)
async def test_a_body_that_cannot_be_read_is_explained_without_our_type_names(
    http: httpx.AsyncClient, body: str | bytes, sentence: str
) -> None:
    answer = await http.post("/v1/perform", content=body, headers=bearer())
    assert refusal(answer, 400, "INVALID_REQUEST")["message"] == sentence


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("nonsense=1", "The parameter nonsense is not known."),
        ("page_size=x", "page_size: must be a whole number."),
    ],
)
async def test_a_query_that_cannot_be_read_is_explained(
    http: httpx.AsyncClient, query: str, sentence: str
) -> None:
    answer = await http.get(f"/v1/recordings?{query}", headers=bearer())
    assert refusal(answer, 400, "INVALID_REQUEST")["message"] == sentence


async def test_text_that_is_not_utf8_is_the_callers_fault(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/recordings/%ff", headers=bearer())
    refusal(answer, 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("GET", "/nope", "There is no such route."),
        ("GET", "/v1/recordings/", "There is no such route."),
        ("GET", "/v1/recordings/..%2f..%2fx", "There is no such route."),
        ("PUT", "/v1/perform", "/v1/perform answers to POST only."),
        (
            "POST",
            "/v1/recordings/7",
            "/v1/recordings/{recording_id} answers to DELETE, GET and PATCH only.",
        ),
        ("OPTIONS", "/v1/perform", "/v1/perform answers to POST only."),
        ("POST", "/newvisions.auth.v1.AuthService/ReserveCredits", "There is no such route."),
    ],
)
async def test_an_unknown_route_or_method_is_not_found(
    http: httpx.AsyncClient, method: str, path: str, sentence: str
) -> None:
    answer = await http.request(method, path)
    assert refusal(answer, 404, "ROUTE_NOT_FOUND")["message"] == sentence


@pytest.mark.parametrize(
    "path",
    ["/newvisions.auth.v1.AuthService/ReserveCredits", "/newvisions.auth.v1.AuthService/Login", "/v1/health"],
)
async def test_native_grpc_reaches_no_service(http: httpx.AsyncClient, path: str) -> None:
    headers = {"content-type": "application/grpc", "te": "trailers"}
    answer = await http.post(path, content=b"\0\0\0\0\0", headers=headers)
    assert answer.headers["grpc-status"] == "12"  # UNIMPLEMENTED, in the words of gRPC.
    assert json.loads(answer.headers["grpc-message"])["error"] == "ROUTE_NOT_FOUND"


async def test_a_body_above_the_routes_limit_is_too_large(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/perform", json={**CARD, "value": "a" * 70_000}, headers=bearer())
    refusal(answer, 413, "TOO_LARGE")


async def test_headers_above_the_limit_are_too_large(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/health", headers={"x-long": "a" * 14_000})
    refusal(answer, 413, "TOO_LARGE")


async def test_a_service_that_cannot_be_reached_is_unavailable_for_now(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/generate-thought", json={"topic": "a", "value": "b"}, headers=bearer())
    refusal(answer, 503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


async def test_the_gateway_is_ready_only_when_every_service_is(http: httpx.AsyncClient) -> None:
    refusal(await http.get("/healthz"), 503, "SERVICE_UNAVAILABLE")
    assert (await http.get("/livez")).json() == {"status": "ok"}


async def test_a_call_that_takes_too_long_ends_with_its_deadline(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/recordings/slow", headers=bearer())
    refusal(answer, 504, "DEADLINE_EXCEEDED")


async def test_a_call_without_a_service_behind_it_tells_no_inside(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/users/me", headers=bearer())
    refusal(answer, 500, "INTERNAL")


async def _calm(http: httpx.AsyncClient) -> None:
    """Perform until nobody was refused for two moments of the gateway's, a quarter of a second each."""
    refused = time.monotonic()
    async with asyncio.timeout(20):
        while time.monotonic() - refused < 0.5:
            if (await http.post("/v1/perform", json=CARD, headers=bearer())).status_code == 503:
                refused = time.monotonic()


async def _crowd(http: httpx.AsyncClient, stage: Stage) -> None:
    """Perform until it was the gateway who refused, and not the service."""
    refused = -1
    while stage.perform.calls["full"] != refused:
        refused = stage.perform.calls["full"]
        await http.post("/v1/perform", json={**CARD, "value": "full"}, headers=bearer())


@pytest.mark.parametrize("path", ["/v1/perform", "/api/perform", "/v1/perform:stream"])
async def test_a_crowd_is_refused_by_the_gateway_in_the_service_s_own_words(
    http: httpx.AsyncClient, stage: Stage, path: str
) -> None:
    await _calm(http)
    asked, told = 0, set()
    stage.perform.calls["full"] = 0
    # A key that the service refused is as good as none.
    caller = {**bearer(), "idempotency-key": "full"}
    async with asyncio.timeout(20):
        # A few of one moment have to be refused first, and a slow machine has short moments.
        while stage.perform.calls["full"] == asked:
            asked += 1
            answer = await http.post(path, json={**CARD, "value": "full"}, headers=caller)
            body = refusal(answer, 503, "PERFORM_BUSY")
            told.add((body["message"], body["action"], answer.headers["retry-after"]))
        assert asked > 3
        assert (await http.get("/v1/recordings/mine", headers=bearer())).status_code != 503
        # Whoever comes in the next moment is let through.
        while (await http.post("/v1/perform", json=CARD, headers=bearer())).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert len(told) == 1


async def test_while_a_crowd_goes_on_one_refusal_of_the_service_a_moment_is_enough(
    http: httpx.AsyncClient, stage: Stage
) -> None:
    stage.perform.calls["full"] = 0
    # What the service refused between one that the gateway refused by itself, and the next such.
    between, before = 0, 0
    async with asyncio.timeout(20):
        while between != 1:
            refused = stage.perform.calls["full"]
            answer = await http.post("/v1/perform", json={**CARD, "value": "full"}, headers=bearer())
            refusal(answer, 503, "PERFORM_BUSY")
            if stage.perform.calls["full"] == refused:
                between, before = refused - before, refused


async def test_who_was_let_in_may_ask_again_in_a_crowd(http: httpx.AsyncClient, stage: Stage) -> None:
    """The service needs no place for what is under way or done."""
    await _calm(http)
    key = {"idempotency-key": uuid4().hex}
    done, under_way = {**bearer("ada"), **key}, {**bearer("bea"), **key}
    assert (await http.post("/v1/perform", json=CARD, headers=done)).status_code == 200
    refused: set[int] = set()
    async with (
        asyncio.timeout(20),
        http.stream("POST", "/v1/perform:stream", json=CARD, headers=under_way) as begun,
    ):
        assert begun.status_code == 200
        # A moment may end in between: who is refused after them tells that it was still the same one.
        while refused != {503}:
            await _crowd(http, stage)
            for caller in (done, under_way):
                assert (await http.post("/v1/perform", json=CARD, headers=caller)).status_code == 200
            others = (bearer("ada"), {**bearer(uuid4().hex), **key})
            answers = [await http.post("/v1/perform", json=CARD, headers=other) for other in others]
            refused = {answer.status_code for answer in answers}


async def test_strangers_and_the_refused_crowd_nobody_s_key_out(
    http: httpx.AsyncClient, stage: Stage
) -> None:
    """It remembers two thousand at most."""
    await _calm(http)
    mine = {**bearer("ada"), "idempotency-key": uuid4().hex}
    assert (await http.post("/v1/perform", json=CARD, headers=mine)).status_code == 200
    for _ in range(20):
        strangers = [{"authorization": "Bearer x", "idempotency-key": uuid4().hex} for _ in range(110)]
        calls = (http.post("/v1/perform", json=CARD, headers=stranger) for stranger in strangers)
        assert {answer.status_code for answer in await asyncio.gather(*calls)} <= {401, 429}
    refused = 0
    async with asyncio.timeout(20):
        while refused != 503:
            await _crowd(http, stage)
            assert (await http.post("/v1/perform", json=CARD, headers=mine)).status_code == 200
            refused = (await http.post("/v1/perform", json=CARD, headers=bearer("ada"))).status_code


async def test_speeches_that_are_refused_keep_no_performance_out(
    http: httpx.AsyncClient,
) -> None:
    """They have places of their own."""
    await _calm(http)
    speech = {"model": "tts-1", "voice": "me", "input": "full"}
    for _ in range(5):
        refusal(await http.post("/v1/audio/speech", json=speech, headers=bearer()), 503, "PERFORM_BUSY")
        assert (await http.post("/v1/perform", json=CARD, headers=bearer())).status_code == 200
