"""Audio in and out: raw bodies, ranges, and streams that are whole or visibly cut."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import MP3, Stage, bearer

CARD = {"routine_type": "cards", "value": "7"}
UPLOAD = "/v1/users/me/voice:upload"


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().playing() as playing:
        yield playing


@pytest.fixture(scope="module")
async def http(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway(stage) as client:
        await until_ready(client)
        yield client


@pytest.fixture(params=["http/1.1", "http/2"])
async def client(request: pytest.FixtureRequest, http: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway over either version of HTTP."""
    two = request.param == "http/2"
    async with httpx.AsyncClient(base_url=http.base_url, http1=not two, http2=two, timeout=10) as opened:
        yield opened


@pytest.mark.parametrize(
    "path",
    [
        "/v1/recordings/r-1/audio",
        "/v1/audio/memo.mp3",
        "/api/audio/memo.mp3",
        "/v1/ambient/fan",
        "/api/ambient/fan",
    ],
)
async def test_every_audio_route_answers_the_audio_itself(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers=bearer())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-length"] == str(len(MP3))
    assert answer.content == MP3


@pytest.mark.parametrize("path", ["/v1/recordings/r-1/audio", "/api/audio/memo.mp3", "/v1/ambient/fan"])
async def test_head_tells_how_long_the_audio_is(client: httpx.AsyncClient, path: str) -> None:
    for _ in range(2):
        told = await client.head(path, headers=bearer())
        assert (told.status_code, told.headers["content-type"], told.content) == (200, "audio/mpeg", b"")
        assert told.headers["content-length"] == str(len(MP3))
        # On the same connection: not a byte was left over.
        assert (await client.get(path, headers=bearer())).content == MP3


@pytest.mark.parametrize("path", ["/v1/recordings/r-1/audio", "/v1/nowhere", "/v1/perform"])
async def test_head_is_refused_like_get(client: httpx.AsyncClient, path: str) -> None:
    refused, told = await client.get(path), await client.head(path)
    assert refused.status_code >= 400
    assert (told.status_code, told.content) == (refused.status_code, b"")
    assert (await client.get(path)).status_code == refused.status_code


@pytest.mark.parametrize("path", ["/v1/recordings/r-1/audio", "/api/audio/memo.mp3"])
async def test_a_part_of_a_recording_is_partial_content(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers={**bearer(), "range": "bytes=0-99"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes 0-99/{len(MP3)}"
    assert answer.content == MP3[:100]
    assert "x-http-status" not in answer.headers


async def test_audio_arrives_as_it_is_made(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.perform.go_on.clear()
    async with client.stream("POST", "/v1/perform:stream", json=CARD, headers=bearer()) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.headers["recording-id"] == "r-1"
        chunks = answer.aiter_bytes()
        assert await anext(chunks) == b"first"
        # Only now may the service make the rest.
        stage.perform.go_on.set()
        assert b"".join([chunk async for chunk in chunks]) == b"second"


async def test_a_stream_that_fails_is_cut_and_does_not_look_complete(client: httpx.AsyncClient) -> None:
    heard = b""
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream(
            "POST", "/v1/perform:stream", json={**CARD, "value": "cut"}, headers=bearer()
        ) as answer:
            async for chunk in answer.aiter_bytes():
                heard += chunk
    assert heard == b"first"


async def test_a_stream_that_meets_its_deadline_is_cut_as_well() -> None:
    heard = b""
    async with Stage().playing() as stage, gateway(stage, {"StreamPerform": 1.5}) as client:
        await until_ready(client)
        stage.perform.go_on.clear()
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("POST", "/v1/perform:stream", json=CARD, headers=bearer()) as answer:
                async for chunk in answer.aiter_bytes():
                    heard += chunk
    assert heard == b"first"


async def test_a_listener_who_hangs_up_ends_the_work(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.perform.go_on.clear()
    stage.perform.given_up.clear()
    async with client.stream("POST", "/v1/perform:stream", json=CARD, headers=bearer()) as answer:
        assert await anext(answer.aiter_bytes()) == b"first"
        await client.aclose()
    await asyncio.wait_for(stage.perform.given_up.wait(), 5)


async def test_a_raw_body_arrives_whole_with_its_type_and_its_query(http: httpx.AsyncClient) -> None:
    audio = bytes(range(256)) * 12_000
    answer = await http.post(
        f"{UPLOAD}?consent=yes", content=audio, headers={**bearer(), "content-type": "audio/ogg"}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["bytes"], body["status"], body["hash"]) == (len(audio), "audio/ogg", "yes")


async def test_looking_at_what_would_be_compressed_leaves_nothing_behind(http: httpx.AsyncClient) -> None:
    for _ in range(2):
        told = await http.head("/v1/recordings/long", headers={**bearer(), "accept-encoding": "gzip"})
        # What came after the headers would be taken for the next answer on this connection.
        asked = await http.get("/v1/recordings/long", headers={**bearer(), "accept-encoding": "identity"})
        assert (told.status_code, told.content) == (200, b"")
        assert told.headers["content-length"] == asked.headers["content-length"]


async def test_a_form_arrives_whole_with_its_boundary(http: httpx.AsyncClient) -> None:
    answer = await http.post(UPLOAD, files={"file": ("memo.mp3", MP3)}, headers=bearer())
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"].startswith("multipart/form-data; boundary=")
    assert body["bytes"] > len(MP3)


async def test_a_sample_in_json_may_be_larger_than_other_bodies(http: httpx.AsyncClient) -> None:
    sample = {"audio_base64": "a" * 5_000_000}
    answer = await http.post("/api/users/me/voice", json=sample, headers=bearer())
    assert answer.json()["bytes"] == 5_000_000


async def _pieces(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 100_000):
        yield bytes(100_000)


@pytest.mark.parametrize("known_length", [True, False])
async def test_a_raw_body_above_the_routes_limit_is_too_large(
    http: httpx.AsyncClient, known_length: bool
) -> None:
    body = bytes(3_300_000) if known_length else _pieces(3_300_000)
    answer = await http.post(UPLOAD, content=body, headers={**bearer(), "content-type": "audio/mpeg"})
    assert (answer.status_code, answer.json()["error"]) == (413, "TOO_LARGE")


async def test_a_json_sample_above_its_limit_is_too_large(http: httpx.AsyncClient) -> None:
    sample = {"audio_base64": "a" * 6_400_000}
    answer = await http.post("/v1/users/me/voice", json=sample, headers=bearer())
    assert (answer.status_code, answer.json()["error"]) == (413, "TOO_LARGE")
