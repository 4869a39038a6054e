"""Pages of others cannot act for whoever looks at them."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer, token

CARD = {"routine_type": "cards", "value": "7"}
APP, FOREIGN = "https://app.example", "https://foreign.example"


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with Stage().playing() as stage, gateway(stage, cors_origins=(APP,), limits=None) as client:
        await until_ready(client)
        yield client


def cookie() -> dict[str, str]:
    return {"cookie": f"newvisions_session={token('eve')}"}


@pytest.mark.parametrize("origin", [FOREIGN, "null", "https://127.0.0.1", f"{APP}.foreign.example"])
async def test_a_foreign_page_cannot_act_with_a_cookie(http: httpx.AsyncClient, origin: str) -> None:
    answer = await http.post("/v1/perform", json=CARD, headers={**cookie(), "origin": origin})
    assert (answer.status_code, answer.json()["error"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_foreign_page_cannot_sign_its_visitor_in_as_another(http: httpx.AsyncClient) -> None:
    form = {"origin": FOREIGN, "content-type": "text/plain"}
    login = json.dumps({"username": "mallory", "password": "a password"})
    answer = await http.post("/v1/auth/login", content=login, headers=form)
    assert (answer.status_code, answer.json()["error"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert "set-cookie" not in answer.headers


async def test_the_page_itself_known_pages_and_apps_act_with_a_cookie(http: httpx.AsyncClient) -> None:
    itself = f"http://{http.base_url.host}:{http.base_url.port}"
    for origin in ({"origin": itself}, {"origin": APP}, {}):
        answer = await http.post("/v1/perform", json=CARD, headers={**cookie(), **origin})
        assert answer.status_code == 200


async def test_a_bearer_token_is_nothing_that_a_page_could_borrow(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/perform", json=CARD, headers={**bearer(), **cookie(), "origin": FOREIGN})
    assert answer.status_code == 200


async def test_looking_is_not_acting(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/recordings/x", headers={**cookie(), "origin": FOREIGN})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_the_service_learns_the_address_from_the_gateway_and_nobody_else(
    http: httpx.AsyncClient,
) -> None:
    forged = {"x-client-address": "192.0.2.1", "x-forwarded-for": "192.0.2.2"}
    answer = await http.post("/v1/perform", json=CARD, headers={**bearer(), **forged})
    assert json.loads(answer.json()["text"])["metadata"]["x-client-address"] == "127.0.0.1"
