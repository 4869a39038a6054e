"""The cookie of a session lets its user in for as long as the session lasts, at no cost per request."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer, token

CARD = {"routine_type": "cards", "value": "7"}
# The gateway allows clocks to differ by 5 seconds: a token that ended this long ago is good for a moment yet.
NEARLY_ENDED = -3


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as playing:
        yield playing


@pytest.fixture(scope="module")
async def http(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway(stage, limits=None, access_log=str(log_of(tmp_path_factory))) as client:
        await until_ready(client)
        yield client


def log_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "sessions-access.log"


def unknown_session() -> str:
    return f"nvs_{uuid4().hex}{uuid4().hex}{uuid4().hex[:11]}"


def new_session(stage: Stage, subject: str = "ada", seconds: int = 600) -> str:
    session = unknown_session()
    stage.sessions.known[session] = lambda: token(subject, roles="user", sid="s-1", seconds=seconds)
    return session


async def perform(http: httpx.AsyncClient, session: str, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post(
        "/api/perform", json=CARD, headers={"cookie": f"a=b; newvisions_session={session}; c=d", **sent}
    )


async def told(http: httpx.AsyncClient, session: str, **headers: str) -> dict[str, Any]:
    """What the service was told about a request with this cookie."""
    answer = await perform(http, session, **headers)
    assert answer.status_code == 200, answer.text
    metadata: dict[str, Any] = json.loads(answer.json()["text"])["metadata"]
    return metadata


async def twenty(http: httpx.AsyncClient, session: str) -> set[int]:
    """How as many requests at once are answered."""
    answers = await asyncio.gather(*(perform(http, session) for _ in range(20)))
    return {answer.status_code for answer in answers}


async def until_asked_again(stage: Stage, http: httpx.AsyncClient, session: str) -> None:
    """Twenty requests at once, over and over, until the token is to be renewed."""
    async with asyncio.timeout(10):
        while stage.sessions.calls[session] == 1:
            assert await twenty(http, session) == {200}


async def test_a_cookie_lets_its_user_in_and_is_asked_about_once(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    session = new_session(stage)
    for _ in range(5):
        metadata = await told(http, session)
    assert (metadata["x-user-id"], metadata["x-user-roles"], metadata["x-session-id"]) == (
        "ada",
        "user",
        "s-1",
    )
    assert "x-user-scopes" not in metadata
    assert session not in str(metadata)
    assert stage.sessions.calls[session] == 1


async def test_a_session_outlives_its_tokens_and_twenty_requests_at_once_renew_them_once(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    session = new_session(stage, "ada")
    stage.sessions.seconds = 4
    try:
        assert (await told(http, session))["x-user-id"] == "ada"
        stage.sessions.known[session] = lambda: token("ada again")
        await until_asked_again(stage, http, session)
    finally:
        stage.sessions.seconds = 300
    assert stage.sessions.calls[session] == 2
    assert (await told(http, session))["x-user-id"] == "ada again"


async def test_whoever_comes_back_long_after_their_token_ended_is_let_in_twenty_requests_at_once(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    session = new_session(stage, seconds=NEARLY_ENDED)
    stage.sessions.seconds = 1
    try:
        await told(http, session)
        # Until the first token is good for nothing.
        ended = {"authorization": f"Bearer {stage.sessions.known[session]()}"}
        async with asyncio.timeout(10):
            while (await http.get("/v1/recordings/x", headers=ended)).status_code != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        stage.sessions.seconds = 300
    stage.sessions.known[session] = lambda: token("ada")
    assert await twenty(http, session) == {200}
    asked = stage.sessions.calls[session]
    assert await twenty(http, session) == {200}
    assert stage.sessions.calls[session] == asked


async def test_a_session_that_has_ended_ends_with_its_last_token(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    session = new_session(stage)
    stage.sessions.seconds = 2
    try:
        await told(http, session)
        del stage.sessions.known[session]
        async with asyncio.timeout(6):
            while (await perform(http, session)).status_code != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        stage.sessions.seconds = 300


@pytest.mark.parametrize(
    "session", ["nvs_" + "0" * 75, "nvs_", 'nvs_"},{"', "nvs_" + "x" * 200, f"nvs_{12:032x}"]
)
async def test_what_is_no_live_session_is_refused_in_the_one_shape(
    http: httpx.AsyncClient, session: str
) -> None:
    answer = await perform(http, session)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    body = answer.json()
    assert (body["error"], body["message"]) == ("UNAUTHENTICATED", "The session has ended.")
    assert body["action"] == "Log in again (POST /v1/auth/login)."
    assert body["detail"] == body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_an_ended_session_is_asked_about_once_in_a_while(stage: Stage, http: httpx.AsyncClient) -> None:
    session = unknown_session()
    for _ in range(4):
        assert (await perform(http, session)).status_code == 401
    assert stage.sessions.calls[session] == 1


async def test_when_auth_is_out_of_order_sessions_in_hand_go_on_and_others_are_not_called_ended(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    known, new = new_session(stage), new_session(stage)
    stage.sessions.seconds = 4
    await told(http, known)
    stage.sessions.seconds, stage.sessions.out_of_order = 300, True
    try:
        await until_asked_again(stage, http, known)
        answer = await perform(http, new)
        assert (answer.status_code, answer.json()["error"]) == (503, "AUTH_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0
    finally:
        stage.sessions.out_of_order = False
    await told(http, new)


async def test_cookies_of_the_release_before_hold_a_token_and_work_until_it_ends(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    old = token("eve")
    assert (await told(http, old))["x-user-id"] == "eve"
    assert stage.sessions.calls[old] == 0


async def test_a_key_and_a_bearer_token_count_more_than_a_forgotten_cookie(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    session = unknown_session()
    assert (await told(http, session, **bearer("eve")))["x-user-id"] == "eve"
    key = f"nvk_{uuid4().hex}"
    stage.api_keys.known[key] = lambda: token("bob", scope="perform")
    assert (await told(http, session, x_api_key=key))["x-user-id"] == "bob"
    assert stage.sessions.calls[session] == 0


async def test_a_cookie_beside_a_header_that_is_no_token_still_counts(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    assert (await told(http, new_session(stage, "eve"), authorization="Basic YTpi"))["x-user-id"] == "eve"


async def test_a_broken_bearer_token_is_not_made_good_by_a_cookie(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    assert (await perform(http, new_session(stage), authorization="Bearer x.y.z")).status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_foreign_page_cannot_act_with_a_sessions_cookie(
    stage: Stage, http: httpx.AsyncClient, origin: str
) -> None:
    session = new_session(stage)
    answer = await perform(http, session, origin=origin)
    assert (answer.status_code, answer.json()["error"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert stage.sessions.calls[session] == 0
    await told(http, session, origin=str(http.base_url))


async def test_open_routes_mind_no_ended_session_and_ask_nobody(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    session = unknown_session()
    cookie = {"cookie": f"newvisions_session={session}"}
    assert (await http.get("/v1/health", headers=cookie)).status_code == 200
    login = await http.post("/api/auth/login", json={"username": "ada", "password": "x"}, headers=cookie)
    assert login.status_code == 200
    assert stage.sessions.calls[session] == 0


async def test_a_cookie_is_in_no_log(
    stage: Stage, http: httpx.AsyncClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await told(http, new_session(stage))
    await perform(http, unknown_session(), x_request_id="last-of-all")
    log = log_of(tmp_path_factory)
    async with asyncio.timeout(5):
        while "last-of-all" not in log.read_text():  # noqa: ASYNC110 - Envoy writes in batches
            await asyncio.sleep(0.05)
    assert "nvs_" not in log.read_text()


async def test_guessing_cookies_is_slow() -> None:
    async with Stage().playing() as stage, gateway(stage, limits=None) as http:
        await until_ready(http)
        good = new_session(stage)
        await told(http, good)
        # Two windows at most: a minute may turn in between.
        answers = [await perform(http, unknown_session()) for _ in range(242)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert refused[0].json()["error"] == "TOO_MANY_REQUESTS"
        seconds = int(refused[0].headers["retry-after"])
        assert 0 < seconds <= 60
        assert refused[0].headers["ratelimit"] == f'"minute";r=0;t={seconds}'
        assert refused[0].headers["ratelimit-policy"] == '"minute";q=120;w=60'
        # Who has been let in before goes on, and so does a server with a key.
        await told(http, good)
        key = f"nvk_{uuid4().hex}"
        stage.api_keys.known[key] = lambda: token("bob", scope="perform")
        assert (await http.post("/v1/perform", json=CARD, headers={"x-api-key": key})).status_code == 200
