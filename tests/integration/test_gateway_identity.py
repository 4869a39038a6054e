"""Who is calling is what the token says, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dev.ports import free_port
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import KEY, KEY_ID, Stage, bearer, token

CARD = {"routine_type": "cards", "value": "7"}


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with Stage().playing() as stage, gateway(stage) as client:
        await until_ready(client)
        yield client


async def told(http: httpx.AsyncClient, headers: dict[str, str], path: str = "/v1/perform") -> dict[str, Any]:
    """What the service was told about a request with these headers."""
    answer = await http.post(path, json=CARD, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.json()["text"])
    return found


async def test_a_bearer_token_says_who_is_calling(http: httpx.AsyncClient) -> None:
    metadata = (await told(http, bearer("ada", roles="user admin", sid="s-9")))["metadata"]
    assert metadata["x-user-id"] == "ada"
    assert metadata["x-user-roles"] == "user admin"
    assert metadata["x-session-id"] == "s-9"


async def test_the_word_bearer_may_be_written_in_any_case(http: httpx.AsyncClient) -> None:
    metadata = (await told(http, {"authorization": f"bearer {token('ada')}"}))["metadata"]
    assert metadata["x-user-id"] == "ada"


async def test_the_cookie_says_it_as_well(http: httpx.AsyncClient) -> None:
    cookie = f"theme=dark; newvisions_session={token('eve')}"
    assert (await told(http, {"cookie": cookie}))["metadata"]["x-user-id"] == "eve"


async def test_a_forgotten_cookie_does_not_spoil_a_bearer_token(http: httpx.AsyncClient) -> None:
    stale = {"cookie": f"newvisions_session={token('eve', seconds=-60)}"}
    assert (await told(http, {**bearer("ada"), **stale}))["metadata"]["x-user-id"] == "ada"


async def test_no_cache_keeps_and_no_browser_guesses_what_comes_back(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/recordings/x", headers=bearer())
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_tokens_go_no_further_than_the_gateway(http: httpx.AsyncClient) -> None:
    metadata = (await told(http, {**bearer(), "cookie": "a=b"}))["metadata"]
    assert not {"authorization", "cookie"} & set(metadata)


async def test_names_that_only_the_gateway_may_say_are_stripped(http: httpx.AsyncClient) -> None:
    forged = {
        "x-user-id": "eve",
        "x-user-roles": "admin",
        "x-user-other": "1",
        "x-session-id": "s-0",
        "x-envoy-original-path": "/v1/forged",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-http-status": "206",
        "x-secret-bin": "!",
        "grpc-timeout": "1m",
    }
    found = await told(http, {**forged, **bearer("ada")})
    metadata = found["metadata"]
    assert metadata["x-user-id"] == "ada"
    assert metadata["x-session-id"] == "session-1"
    assert metadata["x-envoy-original-path"] == "/v1/perform"
    assert not {"x-user-roles", "x-user-other", "x-http-status", "x-secret-bin"} & set(metadata)
    assert found["seconds"] > 10


async def test_the_service_knows_the_path_as_the_client_wrote_it(http: httpx.AsyncClient) -> None:
    found = await told(http, bearer(), path="/api/perform")
    assert found["metadata"]["x-envoy-original-path"] == "/api/perform"


async def test_the_service_knows_how_long_it_has(http: httpx.AsyncClient) -> None:
    assert 17 < (await told(http, bearer()))["seconds"] <= 19


async def test_the_clients_own_headers_reach_the_service(http: httpx.AsyncClient) -> None:
    sent = {"idempotency-key": "k-1", "range": "bytes=0-1", "user-agent": "stage/1"}
    metadata = (await told(http, {**bearer(), **sent}))["metadata"]
    assert {name: metadata.get(name) for name in sent} == sent


async def test_open_routes_need_no_token_and_mind_no_bad_one(http: httpx.AsyncClient) -> None:
    for headers in ({}, {"authorization": "Bearer x.y.z"}, {"cookie": "newvisions_session=bad"}):
        assert (await http.get("/v1/health", headers=headers)).status_code == 200


CLAIMS = {"iss": "newvisions", "aud": "newvisions", "sub": "ada", "exp": 4_000_000_000}


def unsigned() -> str:
    return jwt.encode(CLAIMS, "", algorithm="none", headers={"kid": KEY_ID})


def signed_with_the_public_key() -> str:
    """What an attacker can make when any algorithm is taken: the public key as a shared secret."""
    return jwt.encode(CLAIMS, KEY.public_key().public_bytes_raw(), algorithm="HS256", headers={"kid": KEY_ID})


def forged() -> str:
    return jwt.encode(CLAIMS, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": KEY_ID})


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({}, "This route needs an access token."),
        ({"authorization": "Basic YTpi"}, "This route needs an access token."),
        ({"authorization": "Bearer x.y.z"}, "The access token is not valid."),
        ({"authorization": f"Bearer {forged()}"}, "The access token is not valid."),
        ({"authorization": f"Bearer {unsigned()}"}, "The access token is not valid."),
        ({"authorization": f"Bearer {signed_with_the_public_key()}"}, "The access token is not valid."),
        (bearer(iss="other"), "The access token is not valid."),
        (bearer(aud="other"), "The access token was made for another audience."),
        (bearer(seconds=-60), "The access token has expired."),
        ({"cookie": f"newvisions_session={token(seconds=-60)}"}, "The access token has expired."),
    ],
)
async def test_without_a_good_token_nobody_is_let_in(
    http: httpx.AsyncClient, headers: dict[str, str], sentence: str
) -> None:
    answer = await http.get("/v1/recordings/x", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    body = answer.json()
    assert (body["error"], body["message"], body["detail"]) == ("UNAUTHENTICATED", sentence, sentence)
    assert body["action"]
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_before_the_keys_are_known_a_good_token_is_not_called_bad() -> None:
    stage = Stage(free_port())
    async with gateway(stage) as http:
        answer = await http.get("/v1/recordings/x", headers=bearer())
        assert (answer.status_code, answer.json()["error"]) == (503, "AUTH_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0
        async with stage.playing():
            await until_ready(http)
            assert (await http.get("/v1/recordings/x", headers=bearer())).status_code == 200
        # The keys are known by now: the token is still good, its service is gone.
        async with asyncio.timeout(10):
            answer = await http.get("/v1/recordings/x", headers=bearer())
        assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
