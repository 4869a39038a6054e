"""A performer's evening through the gateway: register, log in, teach a voice, perform, listen, erase."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest

from dev.performer import PASSWORD, Performer, accepted, request
from services.content.languages import tongues
from tests import samples
from tests.e2e.conftest import MONTHLY_LIMIT, SignUp
from tests.e2e.hearing import beside_the_tone, marker, seconds

VALUE = "Seven of Hearts"


def account(code: str) -> dict[str, str]:
    name = f"user-{uuid4().hex[:12]}"
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "activationCode": code}


async def perform(performer: Performer, value: str = VALUE, **override: Any) -> bytes:
    memo = accepted(await performer.perform(value, **override))
    return base64.b64decode(memo["audio_base64"])


async def test_an_activation_code_makes_one_user(stranger: httpx.AsyncClient, codes: Iterator[str]) -> None:
    code = next(codes)
    assert accepted(await stranger.post("/v1/auth/verify-activation-code", json={"code": code})) == {
        "valid": True
    }
    registered = accepted(await stranger.post("/v1/auth/register", json=account(code)))
    assert set(registered) == {"user_id", "username", "email"}
    second = await stranger.post("/v1/auth/register", json=account(code))
    assert (second.status_code, second.json()["error"]) == (400, "ACTIVATION_CODE_INVALID")


async def test_the_shipped_client_registers_and_signs_in_by_cookie(
    stranger: httpx.AsyncClient, codes: Iterator[str]
) -> None:
    made = account(next(codes))
    user = accepted(await stranger.post("/api/auth/register", json=made))
    login = {"username": made["email"], "password": PASSWORD}
    answer = await stranger.post("/api/auth/login", json=login)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    meta = accepted(await stranger.get(f"/api/users/{user['user_id']}/meta"))
    assert meta["monthlyLimit"] == MONTHLY_LIMIT
    left = await stranger.post("/api/auth/logout", json={})
    assert left.is_success
    assert (await stranger.get(f"/api/users/{user['user_id']}/meta")).status_code == 401


async def test_a_refresh_token_gives_a_new_pair(performer: Performer) -> None:
    pair = accepted(
        await performer.http.post("/v1/auth/refresh", json={"refresh_token": performer.refresh_token})
    )
    header = {"authorization": f"Bearer {pair['access_token']}"}
    me = accepted(await performer.http.get("/v1/users/me", headers=header))
    assert me["username"] == performer.username


async def test_settings_read_back_as_they_were_set(performer: Performer) -> None:
    first = accepted(await performer.http.get("/v1/users/me/settings"))
    assert (first["voice_note_name"], first["voice_note_date"]) == (None, None)
    assert accepted(await performer.http.put("/v1/users/me/settings", json=first)) == first
    settings = {
        "voice_language": "spanish",
        "speaker_sex": "female",
        "voice_stability": 0,
        "voice_similarity": 1,
        "background_sound": True,
        "background_volume": 0,
        "voice_note_name": "Morning",
        "voice_note_date": "2024-02-29",
        "voice_note_name_default": True,
    }
    accepted(await performer.http.put("/v1/users/me/settings", json=settings))
    expected = {**settings, "voice_language": "es"}
    assert accepted(await performer.http.get("/v1/users/me/settings")) == expected
    assert accepted(await performer.http.get(f"/api/users/{performer.user_id}/settings")) == expected
    changed = accepted(await performer.set(background_volume=1))
    assert changed == {**expected, "background_volume": 1}


def as_json(sample: bytes) -> dict[str, object]:
    return {"json": {"audio_base64": base64.b64encode(sample).decode()}}


def as_data_url(sample: bytes) -> dict[str, object]:
    encoded = base64.b64encode(sample).decode()
    return {"json": {"audio_base64": f"data:audio/mpeg;base64,{encoded}", "mime_type": "audio/mpeg"}}


def as_raw(sample: bytes) -> dict[str, object]:
    return {"content": sample, "headers": {"content-type": "audio/mpeg"}}


def as_form(sample: bytes) -> dict[str, object]:
    return {"files": {"file": ("voice.mp3", sample, "audio/mpeg")}}


UPLOADS = {
    "JSON": ("/v1/users/me/voice", as_json),
    "data URL": ("/v1/users/me/voice", as_data_url),
    "shipped client": ("/api/users/{user_id}/voice", as_data_url),
    "raw": ("/v1/users/me/voice:upload", as_raw),
    "form": ("/v1/users/me/voice:upload", as_form),
}


@pytest.mark.parametrize("form", UPLOADS)
async def test_a_sample_is_taken_in_every_form(performer: Performer, form: str) -> None:
    path, body = UPLOADS[form]
    path = path.format(user_id=performer.user_id)
    sample = samples.speech()
    first = accepted(await performer.http.post(path, **body(sample)))  # type: ignore[arg-type]
    assert (first["status"], first["action"], first["dedup"]) == ("ok", "created", False)
    assert first["duration"] == pytest.approx(36, abs=0.2)
    again = accepted(await performer.upload(sample))
    assert (again["action"], again["dedup"]) == ("unchanged", True)
    assert (again["hash"], again["voice_clone_id"]) == (first["hash"], first["voice_clone_id"])


async def test_a_voice_is_described_and_given_back_to_its_owner(performer: Performer) -> None:
    meta = accepted(await performer.http.get("/v1/users/me/voice/meta"))
    assert (meta["hasSample"], meta["hasClone"], meta["state"]) == (False, False, "none")
    uploaded = accepted(await performer.upload(samples.speech()))
    meta = accepted(await performer.http.get(f"/api/users/{performer.user_id}/voice/meta"))
    assert (meta["hasSample"], meta["hasClone"], meta["state"]) == (True, True, "ready")
    assert meta["voiceCloneId"] == uploaded["voice_clone_id"]
    source = accepted(await performer.http.get("/v1/users/me/voice/source"))
    assert (source["hash"], source["mime"]) == (uploaded["hash"], "audio/mpeg")
    audio = await performer.http.get("/v1/users/me/voice/source.mp3")
    assert audio.headers["content-type"] == "audio/mpeg"
    assert audio.content == base64.b64decode(source["audio_base64"])
    part = await performer.http.get("/v1/users/me/voice/source.mp3", headers={"range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, audio.content[:2])
    assert part.headers["content-range"] == f"bytes 0-1/{len(audio.content)}"
    assert seconds(audio.content) == pytest.approx(uploaded["duration"], abs=0.2)


async def test_an_erased_voice_is_gone(voiced: Performer) -> None:
    assert (await voiced.http.delete("/v1/users/me/voice")).is_success
    assert accepted(await voiced.http.get("/v1/users/me/voice/meta"))["hasSample"] is False
    assert (await voiced.http.get("/v1/users/me/voice/source")).status_code == 404
    refused = await voiced.perform(VALUE)
    assert (refused.status_code, refused.json()["error"]) == (409, "VOICE_CLONE_REQUIRED")


@pytest.mark.parametrize("path", ["/v1/perform", "/api/perform"])
async def test_a_performance_answers_with_the_whole_memo_and_its_price(voiced: Performer, path: str) -> None:
    body = {**request(VALUE, "cards"), "user_id": voiced.user_id}
    memo = accepted(await voiced.http.post(path, json=body))
    assert 80 <= len(memo["text"]) <= 120
    assert memo["text"].count(VALUE) == 1
    assert (memo["routine_type"], memo["voiceSource"]) == ("cards", "local_clone")
    assert memo["charsUsedRaw"] == memo["charsUsedEffective"] == memo["charCount"] == len(memo["text"])
    assert memo["monthlyLimit"] == MONTHLY_LIMIT
    assert seconds(base64.b64decode(memo["audio_base64"])) > 3
    credits_ = await voiced.credits()
    assert (credits_["charCount"], credits_["reservedChars"]) == (memo["charCount"], 0)


async def test_spanish_is_written_and_spoken(voiced: Performer) -> None:
    memo = accepted(await voiced.perform("Siete de Corazones", voice_language="es"))
    assert memo["text"].count("Siete de Corazones") == 1


async def test_a_recording_is_listed_served_in_parts_and_deleted(voiced: Performer) -> None:
    memo = accepted(
        await voiced.perform(VALUE, voice_note_name="Before coffee", voice_note_date="2024-03-01")
    )
    audio = base64.b64decode(memo["audio_base64"])
    (listed,) = await voiced.recordings()
    assert (listed["id"], listed["title"], listed["date"]) == (
        memo["recording_id"],
        "Before coffee",
        "2024-03-01",
    )
    assert (listed["text"], listed["size_bytes"], listed["is_active_sample"]) == (
        memo["text"],
        len(audio),
        True,
    )
    assert listed["duration_seconds"] == pytest.approx(seconds(audio), abs=0.1)
    assert len(listed["waveform"]) == 64
    assert 0 < max(listed["waveform"]) <= 100
    path = f"/v1/recordings/{listed['id']}"
    assert accepted(await voiced.http.get(path)) == listed
    whole = await voiced.http.get(f"{path}/audio")
    assert (whole.status_code, whole.content) == (200, audio)
    part = await voiced.http.get(f"/api/audio/{memo['filename']}", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, audio[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(audio)}"
    assert (await voiced.http.delete(path)).is_success
    assert (await voiced.http.get(path)).status_code == 404
    assert (await voiced.http.get(f"{path}/audio")).status_code == 404
    assert await voiced.recordings() == []


async def test_recordings_are_paged_newest_first(voiced: Performer) -> None:
    made = [accepted(await voiced.perform(value))["recording_id"] for value in ("Ace", "King", "Queen")]
    first = accepted(await voiced.http.get("/v1/recordings?page_size=2"))
    rest = accepted(await voiced.http.get("/v1/recordings", params={"page_token": first["next_page_token"]}))
    listed = [each["id"] for each in first["recordings"] + rest["recordings"]]
    assert len(first["recordings"]) == 2
    assert listed == made[::-1]


async def test_a_stream_is_the_recording_as_it_is_made(voiced: Performer) -> None:
    async with voiced.stream(VALUE) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "audio/mpeg")
        assert "content-length" not in response.headers
        audio = b"".join([chunk async for chunk in response.aiter_bytes()])
    headers = response.headers
    (listed,) = await voiced.recordings()
    assert headers["recording-id"] == listed["id"]
    assert unquote(headers["voice-note-text"]) == listed["text"]
    assert headers["voice-source"] == "local_clone"
    assert float(headers["expected-duration-seconds"]) > 0
    kept = await voiced.http.get(f"/v1/recordings/{listed['id']}/audio")
    assert kept.content == audio


async def test_the_same_key_gives_the_same_memo_for_one_price(voiced: Performer) -> None:
    key, body = {"idempotency-key": uuid4().hex}, request(VALUE, "cards")
    first = accepted(await voiced.http.post("/v1/perform", json=body, headers=key))
    again = accepted(await voiced.http.post("/v1/perform", json=body, headers=key))
    assert (again["recording_id"], again["audio_base64"]) == (first["recording_id"], first["audio_base64"])
    assert (await voiced.credits())["charCount"] == first["charsUsedEffective"]
    other = await voiced.http.post("/v1/perform", json=request("Ace of Spades", "cards"), headers=key)
    assert (other.status_code, other.json()["error"]) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_the_fan_is_heard_at_its_volume_and_zero_is_silence(voiced: Performer) -> None:
    alone = await perform(voiced, background_sound=False)
    silent = await perform(voiced, background_sound=True, background_volume=0)
    loud = await perform(voiced, background_sound=True, background_volume=100)
    assert beside_the_tone(silent) == pytest.approx(beside_the_tone(alone), abs=0.005)
    assert beside_the_tone(loud) > beside_the_tone(alone) + 0.01
    assert marker(loud) == marker(alone)


async def test_one_user_s_things_do_not_exist_for_another(voiced: Performer, sign_up: SignUp) -> None:
    recording = accepted(await voiced.perform(VALUE))["recording_id"]
    other = await sign_up()
    for path in (
        f"/v1/users/{voiced.user_id}",
        f"/v1/users/{voiced.user_id}/meta",
        f"/v1/users/{voiced.user_id}/settings",
        f"/v1/users/{voiced.user_id}/voice/meta",
        f"/v1/users/{voiced.user_id}/voice/source",
        f"/v1/users/{voiced.user_id}/voice/source.mp3",
        f"/v1/recordings/{recording}",
        f"/v1/recordings/{recording}/audio",
    ):
        assert (await other.http.get(path)).status_code == 404, path
    assert (await other.http.delete(f"/v1/recordings/{recording}")).status_code == 404
    assert (await other.http.delete(f"/v1/users/{voiced.user_id}/voice")).status_code == 404
    assert (await voiced.http.get(f"/v1/recordings/{recording}")).status_code == 200


async def test_credits_end_with_402_and_are_never_overshot(voiced: Performer) -> None:
    """More performances at once than the month can pay for."""
    spent = 0
    while MONTHLY_LIMIT - spent > 400:
        spent = accepted(await voiced.perform(VALUE))["charCount"]
    answers = await asyncio.gather(*(voiced.perform(f"{number} of Hearts") for number in range(2, 8)))
    refused = [answer for answer in answers if answer.status_code == 402]
    assert refused
    assert {answer.json()["error"] for answer in refused} == {"CREDITS_EXHAUSTED"}
    credits_ = await voiced.credits()
    assert credits_["charCount"] <= MONTHLY_LIMIT
    assert credits_["reservedChars"] == 0


async def test_an_administrator_makes_codes_and_a_user_does_not(
    admin: httpx.AsyncClient, performer: Performer
) -> None:
    refused = await performer.http.post("/v1/admin/activation-codes", json={"count": 1})
    assert (refused.status_code, refused.json()["error"]) == (403, "ADMIN_REQUIRED")
    made = accepted(await admin.post("/v1/admin/activation-codes", json={"count": 2}))
    verdicts = [
        accepted(await performer.http.post("/v1/auth/verify-activation-code", json={"code": code}))
        for code in made["codes"]
    ]
    assert verdicts == [{"valid": True}, {"valid": True}]


@pytest.mark.parametrize("path", ["/v1/health", "/api/health"])
async def test_health_says_that_performing_would_work(stranger: httpx.AsyncClient, path: str) -> None:
    assert accepted(await stranger.get(path)) == {"status": "ok"}


async def test_a_thought_is_written_for_any_topic(performer: Performer) -> None:
    answer = await performer.http.post(
        "/api/generate-thought", json={"topic": "a holiday", "value": "Lisbon"}
    )
    assert accepted(answer)["thought"].count("Lisbon") == 1


async def test_a_thought_is_written_in_the_performers_language(performer: Performer) -> None:
    accepted(await performer.set(voice_language="spanish"))
    answer = await performer.http.post(
        "/api/generate-thought", json={"topic": "a holiday", "value": "Granada"}
    )
    odds = tongues().odds(accepted(answer)["thought"])
    # Of a sentence or two, its neighbours are never far.
    assert odds["es"] > odds["en"]


@pytest.mark.parametrize("path", ["/v1/ambient/fan", "/api/ambient/fan"])
async def test_the_fan_can_be_heard_alone(stranger: httpx.AsyncClient, path: str) -> None:
    fan = await stranger.get(path)
    assert fan.headers["content-type"] == "audio/mpeg"
    assert seconds(fan.content) > 1
