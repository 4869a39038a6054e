"""What answers carry so that nobody keeps them, guesses their type, frames them, or asks again in clear."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.routes import read_routes
from gateway.settings import SERVICES, GatewaySettings, Tls
from gateway.virtual_host import virtual_host
from tests.integration.gateway_envoy import ROOT, gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer

ROUTES = read_routes(ROOT / "gen/edge.pb")


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with Stage().playing() as stage, gateway(stage, limits=None) as client:
        await until_ready(client)
        yield client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/recordings/x", 200),
        ("/v1/recordings/x/audio", 200),
        ("/v1/recordings?colour=red", 400),
        ("/v1/health", 200),
        ("/nowhere", 404),
    ],
)
async def test_no_answer_is_kept_or_guessed(http: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await http.get(path, headers=bearer("ida"))
    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    # No version of anything.
    assert not any(sign.isdigit() for sign in answer.headers.get("server", ""))
    assert "x-powered-by" not in answer.headers


async def test_the_page_of_the_api_runs_nothing_but_itself_and_stands_in_no_frame(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.get("/docs")
    policy = answer.headers["content-security-policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "script-src 'sha256-"):
        assert rule in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("header", ["a&b", "x+y", "-%", "x'y", "it~s", "x^y|z"])
async def test_a_header_whose_name_grpc_does_not_know_harms_nobody(
    http: httpx.AsyncClient, header: str
) -> None:
    answer = await http.get("/v1/recordings/x", headers={**bearer("jon"), header: "z"})
    assert answer.status_code == 200


@pytest.mark.parametrize("tls", [None, Tls("/certificate.pem", "/key.pem")])
def test_where_tls_ends_here_browsers_are_told_to_stay_with_it(tls: Tls | None) -> None:
    upstreams = dict.fromkeys(SERVICES, "127.0.0.1:1")
    settings = GatewaySettings(upstreams=upstreams, admin_socket="/tmp/a", listener_tls=tls)
    headers = {
        entry["header"]["key"]: entry["header"]["value"]
        for entry in virtual_host(ROUTES, settings)["response_headers_to_add"]
    }
    told = headers.get("strict-transport-security", "")
    assert told.startswith("max-age=31536000") is (tls is not None)
