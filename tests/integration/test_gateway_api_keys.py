"""A server with an API key is let in like its owner, within the key's scopes, at no cost per request."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.settings import Limits
from services.auth.domain.api_keys import PREFIX
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer, token

CARD = {"routine_type": "cards", "value": "7"}


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as playing:
        yield playing


@pytest.fixture(scope="module")
async def http(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway(stage, access_log=str(log_of(tmp_path_factory))) as client:
        await until_ready(client)
        yield client


def log_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "api-keys-access.log"


def unknown_key() -> str:
    return f"{PREFIX}{uuid4().hex}{uuid4().hex[:11]}"


def new_key(stage: Stage, subject: str = "ada", scope: str = "perform recordings") -> str:
    key = unknown_key()
    stage.api_keys.known[key] = lambda: token(subject, roles="user", sid="key-1", scope=scope)
    return key


async def perform(http: httpx.AsyncClient, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/v1/perform", json=CARD, headers=sent)


async def told(http: httpx.AsyncClient, **headers: str) -> dict[str, Any]:
    """What the service was told about a request with these headers."""
    answer = await perform(http, **headers)
    assert answer.status_code == 200, answer.text
    metadata: dict[str, Any] = json.loads(answer.json()["text"])["metadata"]
    return metadata


@pytest.mark.parametrize("how", ["authorization", "x_api_key"])
async def test_a_key_lets_its_owner_in_within_its_scopes(
    stage: Stage, http: httpx.AsyncClient, how: str
) -> None:
    key = new_key(stage)
    metadata = await told(http, **{how: f"Bearer {key}" if how == "authorization" else key})
    assert metadata["x-user-id"] == "ada"
    assert metadata["x-user-scopes"] == "perform recordings"
    assert metadata["x-user-roles"] == "user"
    assert key not in str(metadata)


async def test_one_exchange_serves_many_requests(stage: Stage, http: httpx.AsyncClient) -> None:
    key = new_key(stage)
    for _ in range(5):
        await told(http, authorization=f"Bearer {key}")
        await told(http, x_api_key=key)
    assert stage.api_keys.calls[key] == 1


async def test_the_exchange_has_a_deadline_and_the_requests_id(stage: Stage, http: httpx.AsyncClient) -> None:
    await told(http, x_api_key=new_key(stage), x_request_id="trace-me")
    assert stage.api_keys.metadata["x-request-id"] == "trace-me"
    assert stage.api_keys.seconds_left is not None
    assert 0 < stage.api_keys.seconds_left <= 2


async def test_without_the_scope_a_key_is_denied(stage: Stage, http: httpx.AsyncClient) -> None:
    answer = await perform(http, x_api_key=new_key(stage, scope="settings"))
    assert (answer.status_code, answer.json()["error"]) == (403, "SCOPE_MISSING")


async def test_a_client_cannot_name_its_own_scopes(stage: Stage, http: httpx.AsyncClient) -> None:
    key = new_key(stage, scope="settings")
    answer = await perform(http, x_api_key=key, x_user_scopes="perform")
    assert (answer.status_code, answer.json()["error"]) == (403, "SCOPE_MISSING")
    metadata = await told(http, x_user_scopes="settings", **bearer("ada"))
    assert "x-user-scopes" not in metadata


@pytest.mark.parametrize(
    "key", ["nvk_" + "0" * 43, "nvk_", 'nvk_"},{"', "nvk_" + "x" * 200, "something else"]
)
async def test_what_is_no_key_is_refused(stage: Stage, http: httpx.AsyncClient, key: str) -> None:
    answer = await perform(http, x_api_key=key)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    body = answer.json()
    assert (body["error"], body["message"]) == ("UNAUTHENTICATED", "The API key is not valid.")
    assert body["action"]
    assert body["detail"] == body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_an_unknown_key_is_asked_about_once_in_a_while(stage: Stage, http: httpx.AsyncClient) -> None:
    key = unknown_key()
    for _ in range(4):
        assert (await perform(http, x_api_key=key)).status_code == 401
    assert stage.api_keys.calls[key] == 1


async def test_an_access_token_counts_more_than_a_key(stage: Stage, http: httpx.AsyncClient) -> None:
    metadata = await told(http, x_api_key=unknown_key(), **bearer("eve"))
    assert metadata["x-user-id"] == "eve"
    assert "x-api-key" not in metadata


async def test_a_key_counts_more_than_a_forgotten_cookie(stage: Stage, http: httpx.AsyncClient) -> None:
    cookie = f"newvisions_session={token('eve')}"
    metadata = await told(http, x_api_key=new_key(stage, "ada"), cookie=cookie)
    assert metadata["x-user-id"] == "ada"


async def test_open_routes_mind_no_bad_key_and_ask_nobody(stage: Stage, http: httpx.AsyncClient) -> None:
    key = unknown_key()
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
        assert (await http.get("/v1/health", headers=headers)).status_code == 200
    assert stage.api_keys.calls[key] == 0


async def test_a_deleted_key_ends_with_its_last_token(stage: Stage, http: httpx.AsyncClient) -> None:
    key = new_key(stage)
    stage.api_keys.seconds = 2
    try:
        await told(http, x_api_key=key)
        del stage.api_keys.known[key]
        async with asyncio.timeout(6):
            while (await perform(http, x_api_key=key)).status_code != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        stage.api_keys.seconds = 300


async def test_when_auth_is_out_of_order_tokens_in_hand_go_on_and_new_keys_are_not_called_bad(
    stage: Stage, http: httpx.AsyncClient
) -> None:
    known, new = new_key(stage), new_key(stage)
    await told(http, x_api_key=known)
    stage.api_keys.out_of_order = True
    try:
        await told(http, x_api_key=known)
        answer = await perform(http, x_api_key=new)
        assert (answer.status_code, answer.json()["error"]) == (503, "AUTH_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0
    finally:
        stage.api_keys.out_of_order = False
    await told(http, x_api_key=new)


async def test_what_auth_did_not_answer_is_no_guess(stage: Stage, http: httpx.AsyncClient) -> None:
    stage.api_keys.out_of_order = True
    try:
        answers = [(await perform(http, x_api_key=unknown_key())).status_code for _ in range(62)]
    finally:
        stage.api_keys.out_of_order = False
    assert answers == [503] * 62
    await told(http, x_api_key=new_key(stage))


async def test_a_server_may_begin_with_many_requests_at_once(stage: Stage, http: httpx.AsyncClient) -> None:
    key = new_key(stage, "a server")
    stage.api_keys.asked = asyncio.Semaphore(0)
    stage.api_keys.open.clear()
    try:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            answers = [group.create_task(told(http, x_api_key=key)) for _ in range(40)]
            for _ in answers:
                await stage.api_keys.asked.acquire()
            stage.api_keys.open.set()
    finally:
        stage.api_keys.open.set()


async def test_a_key_is_in_no_log(
    stage: Stage, http: httpx.AsyncClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    good, bad = new_key(stage), unknown_key()
    await told(http, x_api_key=good)
    await perform(http, authorization=f"Bearer {bad}", x_request_id="last-of-all")
    log = log_of(tmp_path_factory)
    async with asyncio.timeout(5):
        while "last-of-all" not in log.read_text():  # noqa: ASYNC110 - Envoy writes in batches
            await asyncio.sleep(0.05)
    assert PREFIX not in log.read_text()


async def test_keys_of_one_user_share_the_users_rate_limit() -> None:
    async with Stage().playing() as stage, gateway(stage, limits=Limits(costly=3)) as http:
        await until_ready(http)
        keys = [new_key(stage, "ada"), new_key(stage, "ada")]
        answers = [(await perform(http, x_api_key=keys[turn % 2])).status_code for turn in range(4)]
        assert answers == [200, 200, 200, 429]
        assert (await perform(http, x_api_key=new_key(stage, "eve"))).status_code == 200


async def test_guessing_keys_is_slow() -> None:
    async with Stage().playing() as stage, gateway(stage, trusted_proxies=1) as http:
        await until_ready(http)
        good = new_key(stage)
        await told(http, x_api_key=good)
        # One customer's. Two windows at most: a minute may turn in between.
        addresses = [f"2001:db8:1:2::{number:x}" for number in range(62)]
        answers = [await perform(http, x_api_key=unknown_key(), x_forwarded_for=each) for each in addresses]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert refused[0].json()["error"] == "TOO_MANY_REQUESTS"
        seconds = int(refused[0].headers["retry-after"])
        assert 0 < seconds <= 60
        assert refused[0].headers["ratelimit"] == f'"minute";r=0;t={seconds}'
        assert refused[0].headers["ratelimit-policy"] == '"minute";q=30;w=60'
        await told(http, x_api_key=good, x_forwarded_for=addresses[0])
        assert (await perform(http, x_api_key=unknown_key())).status_code == 401


async def test_guessing_many_keys_at_once_is_no_faster() -> None:
    async with Stage().playing() as stage, gateway(stage) as http:
        await until_ready(http)
        stage.api_keys.open.clear()
        async with asyncio.TaskGroup() as group:
            guesses = [group.create_task(perform(http, x_api_key=unknown_key())) for _ in range(62)]
            # Before auth has answered any.
            await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
            stage.api_keys.open.set()
        answers = [guess.result().status_code for guess in guesses]
        assert set(answers) == {401, 429}
        # Two windows at most: a minute may turn in between.
        assert answers.count(401) <= 60
