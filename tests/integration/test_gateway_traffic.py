"""Limits, retries, CORS, request ids and the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.settings import Limits
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer, token

CARD = {"routine_type": "cards", "value": "7"}
LOGIN = {"username": "ada", "password": "a secret of hers"}
APP = "https://app.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "idempotency-key"}


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as playing:
        yield playing


@pytest.fixture(scope="module")
def access_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway") / "access.log"


@pytest.fixture(scope="module")
async def http(stage: Stage, access_log: Path) -> AsyncIterator[httpx.AsyncClient]:
    limits = Limits(reads=20, costly=3, guessable=2, address=8)
    changes: dict[str, Any] = {
        "limits": limits,
        "cors_origins": (APP,),
        "trusted_proxies": 1,
        "max_requests": 3,
    }
    async with gateway(stage, access_log=str(access_log), **changes) as client:
        await until_ready(client)
        yield client


def somewhere() -> dict[str, str]:
    """An address of a network nobody called from before."""
    return {"x-forwarded-for": f"{network()}::1"}


def network() -> str:
    """The first four groups of an IPv6 address."""
    return f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}"


async def test_a_user_has_a_limit_of_their_own(http: httpx.AsyncClient) -> None:
    for left in (2, 1, 0):
        answer = await http.post("/v1/perform", json=CARD, headers={**bearer("bea"), **somewhere()})
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"minute";q=3;w=60'
        assert answer.headers["ratelimit"].startswith(f'"minute";r={left};t=')
    answer = await http.post("/v1/perform", json=CARD, headers={**bearer("bea"), **somewhere()})
    assert (answer.status_code, answer.json()["error"]) == (429, "TOO_MANY_REQUESTS")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["ratelimit"].startswith('"minute";r=0;t=')
    assert answer.headers["ratelimit-policy"] == '"minute";q=3;w=60'
    other = await http.post("/v1/perform", json=CARD, headers={**bearer("cem"), **somewhere()})
    assert other.status_code == 200


async def test_passwords_cannot_be_guessed_quickly_from_one_address(http: httpx.AsyncClient) -> None:
    address = somewhere()
    answers = [await http.post("/api/auth/login", json=LOGIN, headers=address) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (await http.post("/api/auth/login", json=LOGIN, headers=somewhere())).status_code == 200


@pytest.mark.parametrize(
    "addresses",
    [
        [f"2001:db8:5:6{host}" for host in ("::1", "::2:0:1", ":8000::")],
        ["2001:db8::1", "2001:db8:0:0:1::", "2001:0DB8:0000::2"],
        ["2001:db8:7::1", "2001:db8:7::2", "2001:db8:7:0:ffff:ffff:ffff:ffff"],
        ["::1", "::2", "0:0:0:0:1::"],
        ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:201"],
    ],
)
async def test_who_has_many_addresses_has_the_limit_of_one(
    http: httpx.AsyncClient, addresses: list[str]
) -> None:
    answers = [
        await http.post("/v1/auth/login", json=LOGIN, headers={"x-forwarded-for": address})
        for address in addresses
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


@pytest.mark.parametrize(
    "form", ["198.51.100.{}", "::ffff:203.0.113.{}", "2001:db8:a:{}::1", "2001:db8:{}::1"]
)
async def test_who_is_somebody_else_has_a_limit_of_their_own(http: httpx.AsyncClient, form: str) -> None:
    answers = [
        await http.post("/v1/auth/login", json=LOGIN, headers={"x-forwarded-for": form.format(number)})
        for number in range(100, 104)
    ]
    assert [answer.status_code for answer in answers] == [200] * 4


async def test_one_address_is_bounded_whoever_signs_in_there(http: httpx.AsyncClient) -> None:
    address = somewhere()
    users = [{**bearer(f"user-{number}"), **address} for number in range(9)]
    answers = [await http.get("/v1/recordings/x", headers=headers) for headers in users]
    assert [answer.status_code for answer in answers] == [200] * 8 + [429]


async def test_looking_for_routes_is_bounded_as_well(http: httpx.AsyncClient) -> None:
    address = somewhere()
    answers = [await http.get(f"/probe/{number}", headers=address) for number in range(9)]
    assert [answer.status_code for answer in answers] == [404] * 8 + [429]


async def test_only_so_many_requests_wait_for_one_service(http: httpx.AsyncClient) -> None:
    async def ask(number: int) -> int:
        headers = {**bearer(f"waiter-{number}"), **somewhere()}
        return (await http.get("/v1/recordings/slow", headers=headers)).status_code

    statuses = await asyncio.gather(*(ask(number) for number in range(5)))
    assert sorted(statuses) == [503, 503, 504, 504, 504]


async def test_a_read_is_asked_twice_before_it_fails(http: httpx.AsyncClient, stage: Stage) -> None:
    word = f"once-busy-{uuid4().hex}"
    answer = await http.get(f"/v1/recordings?page_token={word}", headers={**bearer("dan"), **somewhere()})
    assert answer.status_code == 200
    assert stage.perform.calls[word] == 2


async def test_a_write_is_never_asked_twice(http: httpx.AsyncClient, stage: Stage) -> None:
    before = stage.perform.calls["busy"]
    answer = await http.post(
        "/v1/perform", json={**CARD, "value": "busy"}, headers={**bearer("eli"), **somewhere()}
    )
    assert answer.status_code == 503
    assert stage.perform.calls["busy"] == before + 1


async def test_a_known_origin_may_ask_from_a_browser(http: httpx.AsyncClient) -> None:
    answer = await http.options("/v1/perform", headers={"origin": APP, **PREFLIGHT, **somewhere()})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_a_foreign_origin_may_not(http: httpx.AsyncClient) -> None:
    foreign = {"origin": "https://foreign.example", **PREFLIGHT, **somewhere()}
    answer = await http.options("/v1/perform", headers=foreign)
    assert answer.status_code == 404
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/health"), ("GET", "/v1/recordings"), ("GET", "/nope"), ("PUT", "/v1/perform")],
)
async def test_a_browser_may_read_errors_too(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path, headers={"origin": APP, **somewhere()})
    assert answer.headers["access-control-allow-origin"] == APP
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_a_request_id_is_kept_and_passed_on(http: httpx.AsyncClient) -> None:
    request_id = str(uuid4())
    headers = {**bearer("fay"), **somewhere(), "x-request-id": request_id}
    answer = await http.post("/v1/perform", json=CARD, headers=headers)
    assert answer.headers["x-request-id"] == request_id
    assert json.loads(answer.json()["text"])["metadata"]["x-request-id"] == request_id


async def test_a_request_without_an_id_gets_one(http: httpx.AsyncClient) -> None:
    first, second = [await http.get("/v1/health", headers=somewhere()) for _ in range(2)]
    assert len(first.headers["x-request-id"]) == 36
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(("sent", "kept"), [('a"b\\c<d>', "abcd"), ("x" * 300, "x" * 128)])
async def test_a_request_id_is_kept_readable(http: httpx.AsyncClient, sent: str, kept: str) -> None:
    answer = await http.get("/nope", headers={"x-request-id": sent, **somewhere()})
    assert answer.headers["x-request-id"] == kept
    assert answer.json()["request_id"] == kept


async def test_a_request_id_of_nothing_readable_is_replaced(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nope", headers={"x-request-id": "<<>>", **somewhere()})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] != ""


async def test_long_json_is_compressed_for_those_who_ask(http: httpx.AsyncClient) -> None:
    headers = {**bearer("gus"), **somewhere()}
    answer = await http.get("/v1/recordings/x", headers={**headers, "accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    audio = await http.get("/v1/recordings/x/audio", headers={**headers, "accept-encoding": "gzip"})
    assert "content-encoding" not in audio.headers


async def _line(log: Path, request_id: str) -> dict[str, object]:
    async with asyncio.timeout(5):
        while True:
            for line in (await asyncio.to_thread(log.read_text)).splitlines():
                found: dict[str, object] = json.loads(line)
                if found["request_id"] == request_id:
                    return found
            await asyncio.sleep(0.02)


async def test_the_log_tells_route_user_and_error_but_no_secret(
    http: httpx.AsyncClient, access_log: Path
) -> None:
    request_id, secret = str(uuid4()), token("hal")
    headers = {"authorization": f"Bearer {secret}", **somewhere(), "x-request-id": request_id}
    await http.get("/v1/audio/a-spectators-name.mp3?nonsense=private", headers=headers)
    line = await _line(access_log, request_id)
    assert (line["route"], line["user_id"], line["status"]) == ("GET /v1/audio/{filename}", "hal", 400)
    assert line["error"] == "INVALID_REQUEST"
    everything = await asyncio.to_thread(access_log.read_text)
    assert not [word for word in (secret, "private", "a-spectators-name", "a secret") if word in everything]
