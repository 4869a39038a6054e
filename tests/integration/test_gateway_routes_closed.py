"""Every route of the contracts, asked by those who may not; the table is generated, so none is forgotten."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.routes import Route, read_routes
from tests.integration.gateway_envoy import ROOT, gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer, token

ROUTES = read_routes(ROOT / "gen/edge.pb")
CLOSED = [route for route in ROUTES if route.needs_token]
OPEN = [route for route in ROUTES if not route.needs_token]


def name(route: Route) -> str:
    return f"{route.method} {route.template}"


def path(route: Route) -> str:
    return "/".join("somebody" if "{" in part else part for part in route.template.split("/"))


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with Stage().playing() as stage, gateway(stage, limits=None) as client:
        await until_ready(client)
        yield client


def test_there_are_routes_of_both_kinds() -> None:
    assert len(CLOSED) > 50
    assert {name(route) for route in OPEN} >= {"POST /v1/auth/login", "GET /v1/health"}


@pytest.mark.parametrize("route", CLOSED, ids=name)
async def test_a_stranger_an_expired_token_and_a_forged_one_are_refused(
    http: httpx.AsyncClient, route: Route
) -> None:
    expired, forged = token(seconds=-60), token()[:-8] + "AAAAAAAA"
    for headers in (
        {},
        {"authorization": f"Bearer {expired}"},
        {"authorization": f"Bearer {forged}"},
        {"cookie": f"newvisions_session={expired}"},
        {"cookie": f"newvisions_session=nvs_{'0' * 75}"},
        bearer(aud="somebody-else"),
        bearer(iss="somebody-else"),
    ):
        answer = await http.request(route.method, path(route), headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "UNAUTHENTICATED"), headers
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("route", OPEN, ids=name)
async def test_an_open_route_asks_nobody_who_they_are(http: httpx.AsyncClient, route: Route) -> None:
    assert (await http.request(route.method, path(route))).status_code != 401
