"""Backgrounds through a real gateway, as the settings page and an <audio> element ask for them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from services.synthesis.ambience import Ambience
from services.synthesis.seats import Seats
from services.synthesis.usecases import Desk
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage
from tests.integration.synthesis_stage import (
    heard,
    listening,
    mixing_for,
    showroom_for,
)


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    ambience = Ambience.made()
    with showroom_for(ambience, seats=8) as showroom:
        async with (
            Stage().playing() as stage,
            mixing_for(ambience) as mixing,
            listening({}, Desk(Seats(8), mixing), showroom) as synthesis,
            gateway(stage, upstreams={"synthesis": synthesis}) as client,
        ):
            await until_ready(client)
            yield client


@pytest.mark.parametrize(
    "path",
    [
        "/v1/ambient/fan",
        "/api/ambient/fan",
        "/v1/ambient/room_tone",
        "/v1/ambient/street?volume=60",
        "/v1/ambient/rain?volume=1",
        "/v1/ambient/rain/preview",
        "/v1/ambient/street/preview?volume=40&ducking=true",
        "/v1/ambient/off/preview?volume=0",
    ],
)
async def test_anybody_hears_it_without_signing_in(http, path):
    answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert len(heard(answer.content)[0]) > 4 * 44_100


async def test_volume_and_ducking_change_what_is_heard(http):
    asked = ["?volume=30", "?volume=31", "?volume=30&ducking=true", "?volume=0"]
    answers = [(await http.get(f"/v1/ambient/rain/preview{how}")).content for how in asked]
    assert len(set(answers)) == len(asked)
    assert (await http.get("/v1/ambient/rain/preview")).content == answers[0]


@pytest.mark.parametrize(
    "path", ["/api/ambient/fan", "/v1/ambient/fan", "/v1/ambient/rain?volume=1", "/v1/ambient/rain/preview"]
)
async def test_a_player_gets_the_part_that_it_asks_for(http, path):
    whole = await http.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    size = len(whole.content)
    for asked, start, end in [("0-1", 0, 2), ("100-", 100, size), ("-5", size - 5, size)]:
        part = await http.get(path, headers={"range": f"bytes={asked}"})
        assert (part.status_code, part.headers["content-type"]) == (206, "audio/mpeg")
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - start)
        assert part.headers["accept-ranges"] == "bytes"
        assert part.content == whole.content[start:end]


async def test_a_part_behind_the_end_is_416(http):
    answer = await http.get("/api/ambient/fan", headers={"range": "bytes=99999999-"})
    assert (answer.status_code, answer.json()["error"]) == (416, "RANGE_NOT_SATISFIABLE")
    size = len((await http.get("/api/ambient/fan")).content)
    assert answer.headers["content-range"] == f"bytes */{size}"


async def test_the_fan_is_where_it_always_was(http):
    paths = ["/v1/ambient/fan", "/api/ambient/fan", "/v1/ambient/fan?volume=100"]
    assert len({(await http.get(path)).content for path in paths}) == 1


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v1/ambient/off", 404, "SOUND_NOT_FOUND"),
        ("/v1/ambient/waterfall", 404, "SOUND_NOT_FOUND"),
        ("/v1/ambient/waterfall/preview", 404, "SOUND_NOT_FOUND"),
        ("/v1/ambient/rain?volume=101", 400, "INVALID_REQUEST"),
        ("/v1/ambient/rain/preview?volume=-1", 400, "INVALID_REQUEST"),
    ],
)
async def test_what_there_is_not_is_refused_in_the_usual_shape(http, path, status, error):
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
