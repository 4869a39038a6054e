"""A phone that lost the answer finds its memo: by asking again, by the performance's id, in its list."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from dev.performer import PASSWORD, Performer, accepted, request
from tests.e2e.tortoise import SLOW

HASTE_SECONDS = 0.3


async def lost(performer: Performer, path: str, **headers: str) -> None:
    """The client hangs up before the answer is there."""
    with pytest.raises(httpx.ReadTimeout):
        body = request(SLOW, "custom")
        await performer.http.post(path, json=body, headers=headers, timeout=HASTE_SECONDS)


async def performance(performer: Performer, performance_id: str) -> dict[str, Any]:
    return accepted(await performer.http.get(f"/v1/performances/{performance_id}"))


@pytest.mark.parametrize("path", ["/v1/perform", "/api/perform"])
async def test_the_answer_a_phone_lost_is_there_when_it_asks_again(voiced: Performer, path: str) -> None:
    await lost(voiced, path)
    again = accepted(await voiced.http.post(path, json=request(SLOW, "custom")))
    (only,) = await voiced.recordings()
    assert only["id"] == again["recording_id"]
    assert (await voiced.credits())["charCount"] == again["charsUsedEffective"]
    # It has the memo now: the same once more is another performance.
    another = accepted(await voiced.http.post(path, json=request(SLOW, "custom")))
    assert another["recording_id"] != again["recording_id"]


async def test_with_a_key_the_lost_answer_is_there_as_often_as_one_asks(voiced: Performer) -> None:
    key = {"idempotency-key": uuid4().hex}
    await lost(voiced, "/v1/perform", **key)
    body = request(SLOW, "custom")
    answers = [accepted(await voiced.http.post("/v1/perform", json=body, headers=key)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(await voiced.recordings()) == 1


async def test_a_performance_is_looked_up_by_its_recording(voiced: Performer) -> None:
    memo = accepted(await voiced.perform("Ace of Spades"))
    found = await performance(voiced, memo["recording_id"])
    assert (found["id"], found["recording_id"], found["state"]) == (
        memo["recording_id"],
        memo["recording_id"],
        "succeeded",
    )
    assert (found["charge"], found["reason"]) == (memo["charsUsedEffective"], "")
    assert found["created_at"] <= found["ended_at"]


@pytest.mark.parametrize("path", ["/v1/auth/register", "/api/auth/register"])
async def test_a_registration_is_answered_again(
    stranger: httpx.AsyncClient, codes: Iterator[str], path: str
) -> None:
    name, key = f"user-{uuid4().hex[:12]}", {"idempotency-key": uuid4().hex}
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    body["activationCode"] = next(codes)
    answers = [accepted(await stranger.post(path, json=body, headers=key)) for _ in range(2)]
    assert answers[0] == answers[1]
    other = await stranger.post(path, json={**body, "username": f"{name}x"}, headers=key)
    assert (other.status_code, other.json()["error"]) == (409, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("path", ["/v1/perform", "/v1/perform:stream", "/api/perform"])
async def test_a_failure_names_the_performance_that_failed(performer: Performer, path: str) -> None:
    refused = await performer.http.post(path, json=request("Ace of Spades", "cards"))
    assert (refused.status_code, refused.json()["error"]) == (409, "VOICE_CLONE_REQUIRED")
    found = await performance(performer, refused.headers["performance-id"])
    assert (found["state"], found["reason"], found["message"]) == (
        "failed",
        "VOICE_CLONE_REQUIRED",
        refused.json()["message"],
    )
    assert (found["recording_id"], found["charge"]) == ("", 0)


async def test_a_list_is_narrowed_by_time_and_by_voice(voiced: Performer) -> None:
    memo = accepted(await voiced.perform("Ace of Spades"))
    (kept,) = await voiced.recordings()
    made = datetime.fromisoformat(kept["created_at"])

    async def listed(**asked: str) -> list[str]:
        answer = accepted(await voiced.http.get("/v1/recordings", params=asked))
        return [each["id"] for each in answer["recordings"]]

    day = made.astimezone(UTC).date()
    here = [memo["recording_id"]]
    assert await listed(state="local_clone") == here
    assert await listed(state="provider_voice_id") == []
    assert await listed(**{"from": day.isoformat(), "to": day.isoformat()}) == here
    assert await listed(**{"from": (day + timedelta(days=1)).isoformat()}) == []
    assert await listed(to=(day - timedelta(days=1)).isoformat()) == []
    assert await listed(to=made.isoformat()) == []
    assert await listed(**{"from": made.isoformat()}) == here
    for wrong in (
        {"from": "yesterday"},
        {"to": "2026-02-30"},
        {"from": "2026-02-03T08:00:00"},
        {"state": "x"},
    ):
        refused = await voiced.http.get("/v1/recordings", params=wrong)
        assert (refused.status_code, refused.json()["error"]) == (400, "INVALID_REQUEST")


async def test_a_range_beyond_the_end_says_where_the_end_is(voiced: Performer) -> None:
    memo = accepted(await voiced.perform("Ace of Spades"))
    size = len(base64.b64decode(memo["audio_base64"]))
    path = f"/v1/recordings/{memo['recording_id']}/audio"
    refused = await voiced.http.get(path, headers={"range": f"bytes={size}-"})
    assert (refused.status_code, refused.json()["error"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert refused.headers["content-range"] == f"bytes */{size}"
    told = await voiced.http.head(path)
    assert (told.status_code, told.headers["content-length"], told.content) == (200, str(size), b"")
