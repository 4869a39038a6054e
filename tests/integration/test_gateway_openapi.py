"""The description of the API is served, is valid, and says what the contracts say."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pytest

from gateway.openapi import openapi
from gateway.routes import read_routes
from tests.integration.gateway_envoy import ROOT, gateway, until_ready
from tests.integration.gateway_stage import Stage

CONTRACTS = ROOT / "gen/edge.pb"
PAGE = (ROOT / "gateway/docs.html").read_text()


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with Stage().playing() as stage, gateway(stage) as client:
        await until_ready(client)
        yield client


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi(CONTRACTS)


def test_every_canonical_route_is_described_once(document: dict[str, Any]) -> None:
    described = {(verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs}
    routes = {(route.method, route.template) for route in read_routes(CONTRACTS)}
    assert described == {route for route in routes if route[1].startswith("/v1/")}
    ids = [operation["operationId"] for verbs in document["paths"].values() for operation in verbs.values()]
    assert len(ids) == len(set(ids))


def test_every_operation_says_what_it_does_and_who_may(document: dict[str, Any]) -> None:
    for path, verbs in document["paths"].items():
        for operation in verbs.values():
            assert operation["summary"], path
            assert operation["responses"].keys() >= {"200", "default"}
    assert "security" not in document["paths"]["/v1/auth/login"]["post"]
    assert document["paths"]["/v1/perform"]["post"]["security"] == [{"bearer": []}, {"cookie": []}]


# POSTs that take no Idempotency-Key, and why asking again harms nobody.
WITHOUT_KEY = {
    "/v1/admin/voice-pool/evict": "what is gone stays gone",
    "/v1/admin/voice-pool/reconcile": "goes on where it was left",
    "/v1/auth/api-key-token": "a short token, and another one is as good",
    "/v1/auth/login": "a session, and another one is as good",
    "/v1/auth/logout": "what has ended stays ended",
    "/v1/auth/logout-everywhere": "what has ended stays ended",
    "/v1/auth/refresh": "the refresh token is good for once",
    "/v1/auth/session-token": "a short token, and another one is as good",
    "/v1/auth/verify-activation-code": "looks, and changes nothing",
    "/v1/users/{user_id}/voice/pool/touch": "the most recent stays the most recent",
}


def test_every_post_that_creates_or_spends_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    takes = {
        (verb, path)
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if any(each["name"] == "Idempotency-Key" for each in operation["parameters"])
    }
    posts = {path for path, verbs in document["paths"].items() if "post" in verbs}
    assert takes == {("post", path) for path in posts - WITHOUT_KEY.keys()}
    assert posts >= WITHOUT_KEY.keys()


def test_every_schema_is_one_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = document["components"]["schemas"].keys()
    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= names


def references(part: Any) -> set[str]:
    if isinstance(part, list):
        return {ref for item in part for ref in references(item)}
    if isinstance(part, dict):
        own = {part["$ref"]} if "$ref" in part else set()
        return own | {ref for value in part.values() for ref in references(value)}
    return set()


@pytest.mark.parametrize(
    ("request_body", "fits"),
    [
        ({"routine_type": "cards", "value": "Seven of Hearts"}, True),
        ({"routine_type": "cards"}, False),
        ({"routine_type": "spoons", "value": "Seven of Hearts"}, False),
        ({"routine_type": "cards", "value": ""}, False),
        ({"routine_type": "cards", "value": "7", "settings_override": {"background_volume": 101}}, False),
    ],
)
def test_the_rules_of_the_contract_are_in_the_schema(
    document: dict[str, Any], request_body: dict[str, Any], fits: bool
) -> None:
    schema = document["paths"]["/v1/perform"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    assert jsonschema.Draft202012Validator(whole).is_valid(request_body) is fits


async def test_the_gateway_serves_the_document_and_a_page_to_read_it(
    http: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    answer = await http.get("/v1/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == document
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.text == PAGE
