"""The official client of another maker speaks through the gateway; only its address and its key are ours."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import httpx
import openai
import pytest
from openai.types.audio.speech_create_params import Voice, VoiceID

from dev.performer import Performer, accepted
from dev.stack import Stack
from services.synthesis.engines.tone import SECONDS_PER_CHARACTER, STEP_HZ, heard_hz
from tests.e2e.conftest import MONTHLY_LIMIT
from tests.e2e.hearing import listen, marker

WORDS = "Nobody has written this down before."
PCM_RATE = 24_000
LEFT_AFTER_BYTES = 1_000_000
# At the slowest speed there is.
SLOWEST_CHARACTERS_PER_SECOND = 9 / 4
# Fade-in, and for some formats silence of the encoder's own.
LEAD_IN_SECONDS = 0.5
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def client_of(stack: Stack, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key)


@pytest.fixture
async def client(stack: Stack, voiced: Performer) -> AsyncIterator[openai.AsyncOpenAI]:
    """The vendor's client, with a key that this performer made."""
    made = accepted(await voiced.http.post("/v1/api-keys", json={"name": "talk", "scopes": ["perform"]}))
    async with client_of(stack, made["key"]) as client:
        yield client


async def spent(performer: Performer, at_least: int = 0) -> int:
    """Credits charged, once nothing is under way any more."""
    async with asyncio.timeout(20):
        while True:
            meta = await performer.credits()
            if meta["reservedChars"] == 0 and meta["charCount"] >= at_least:
                return int(meta["charCount"])


def tone(audio: bytes, name: str) -> int:
    if name != "pcm":
        return marker(audio)
    return round(heard_hz(audio, PCM_RATE) / STEP_HZ) * STEP_HZ


def seconds(audio: bytes, name: str) -> float:
    pcm, rate = (audio, PCM_RATE) if name == "pcm" else listen(audio)
    return len(pcm) / 2 / rate


@pytest.mark.parametrize("name", CONTENT_TYPES)
async def test_every_format_is_whole_and_in_the_performer_s_own_voice(
    client: openai.AsyncOpenAI, voiced: Performer, name: str
) -> None:
    own = marker(base64.b64decode(accepted(await voiced.perform("Seven of Hearts"))["audio_base64"]))
    before = await spent(voiced)
    answer = await client.audio.speech.create(
        model="gpt-4o-mini-tts",
        voice="me",
        input=WORDS,
        response_format=name,  # type: ignore[arg-type]
        instructions="Cheerfully!",
    )
    assert answer.response.headers["content-type"] == CONTENT_TYPES[name]
    assert answer.response.headers["voice-source"] == "local_clone"
    audio = await answer.aread()
    assert tone(audio, name) == own
    spoken = SECONDS_PER_CHARACTER * len(WORDS)
    assert spoken <= seconds(audio, name) < spoken + LEAD_IN_SECONDS
    assert await spent(voiced) == before + len(WORDS)
    assert len(await voiced.recordings()) == 1


async def test_audio_is_read_while_it_is_made(client: openai.AsyncOpenAI) -> None:
    parts = []
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="me", input=WORDS, speed=0.5
    ) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert "content-length" not in answer.headers
        async for part in answer.iter_bytes():
            parts.append(part)  # noqa: PERF401 - as users of the client write it
    assert seconds(b"".join(parts), "mp3") >= 2 * SECONDS_PER_CHARACTER * len(WORDS)


async def test_events_are_read_line_by_line(client: openai.AsyncOpenAI) -> None:
    async with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="me", input=WORDS, response_format="pcm", stream_format="sse"
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = [line async for line in answer.iter_lines() if line]
    *deltas, done = (json.loads(line.removeprefix("data: ")) for line in lines)
    assert {each["type"] for each in deltas} == {"speech.audio.delta"}
    audio = b"".join(base64.b64decode(each["audio"]) for each in deltas)
    assert seconds(audio, "pcm") >= SECONDS_PER_CHARACTER * len(WORDS)
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["total_tokens"] == len(WORDS)


async def test_the_voice_has_a_name_and_others_voices_do_not_exist(
    client: openai.AsyncOpenAI, voiced: Performer
) -> None:
    own = accepted(await voiced.http.get("/v1/users/me/voice/meta"))["voiceCloneId"]
    names: tuple[Voice, ...] = (own, VoiceID(id=own))
    for voice in names:
        answer = await client.audio.speech.create(model="tts-1", voice=voice, input="Hello.")
        assert (await answer.aread())[:3] == b"ID3"
    with pytest.raises(openai.NotFoundError) as missed:
        await client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
    assert missed.value.body == "VOICE_NOT_FOUND"
    assert missed.value.response.json()["message"] == "You have no such voice."
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.audio.speech.create(model="elevenlabs", voice="me", input="Hello.")
    assert unknown.value.body == "MODEL_NOT_FOUND"


async def test_refusals_are_the_client_s_own_exceptions(
    stack: Stack, client: openai.AsyncOpenAI, voiced: Performer
) -> None:
    before = await spent(voiced)
    async with client_of(stack, "nvk_" + "0" * 43) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.audio.speech.create(model="tts-1", voice="me", input="Hello.")
    assert refused.value.status_code == 401
    with pytest.raises(openai.BadRequestError) as long:
        await client.audio.speech.create(model="tts-1", voice="me", input="x" * 4097)
    assert long.value.body == "INVALID_REQUEST"
    assert "input" in long.value.response.json()["message"]
    with pytest.raises(openai.APIStatusError) as poor:
        await client.audio.speech.create(model="tts-1", voice="me", input="x" * (MONTHLY_LIMIT + 1))
    assert (poor.value.status_code, poor.value.body) == (402, "CREDITS_EXHAUSTED")
    assert await spent(voiced) == before


async def test_a_key_without_the_scope_may_not_speak(stack: Stack, voiced: Performer) -> None:
    made = accepted(await voiced.http.post("/v1/api-keys", json={"name": "look", "scopes": ["recordings"]}))
    async with client_of(stack, made["key"]) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await client.audio.speech.create(model="tts-1", voice="me", input="Hello.")
    assert refused.value.body == "SCOPE_MISSING"


async def test_a_listener_who_leaves_pays_for_what_was_made(
    client: openai.AsyncOpenAI, voiced: Performer
) -> None:
    words = "x" * MONTHLY_LIMIT
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="me", input=words, response_format="wav", speed=0.25
    ) as answer:
        await anext(aiter(answer.iter_bytes(LEFT_AFTER_BYTES)))
    heard_seconds = LEFT_AFTER_BYTES / 2 / PCM_RATE
    least = int(heard_seconds * SLOWEST_CHARACTERS_PER_SECOND)
    assert least <= await spent(voiced, at_least=least) < len(words)


async def test_words_in_any_script_and_fields_nobody_knows(
    client: openai.AsyncOpenAI, voiced: Performer
) -> None:
    before = await spent(voiced)
    words = '¿Mañana? «Sí» — 👩‍👩‍👧 "todo"\n' * 3
    answer = await client.audio.speech.create(
        model="tts-1", voice="me", input=words, extra_body={"language": "es", "seed": 7}
    )
    assert marker(await answer.aread())
    assert await spent(voiced) == before + len(words)


@pytest.mark.parametrize("prefix", ["/api", "/v1"])
async def test_a_memo_about_any_topic_is_kept_and_found_again(voiced: Performer, prefix: str) -> None:
    body, key = {"topic": "cities", "value": "Lisbon"}, {"idempotency-key": "once"}
    memo = accepted(await voiced.http.post(f"{prefix}/generate-audio", json=body, headers=key))
    assert set(memo) == {"audio_base64", "text", "filename"}
    assert memo["text"].count("Lisbon") == 1
    assert await spent(voiced) == len(memo["text"])
    found = await voiced.http.get(f"{prefix}/audio/{memo['filename']}")
    assert found.content == base64.b64decode(memo["audio_base64"])
    again = await voiced.http.post(f"{prefix}/generate-audio", json=body, headers=key)
    assert accepted(again) == memo
    assert await spent(voiced) == len(memo["text"])
    (kept,) = await voiced.recordings()
    assert (kept["text"], kept["routine_type"]) == (memo["text"], "custom")


async def test_a_stranger_may_not_speak(stranger: httpx.AsyncClient) -> None:
    body = {"model": "tts-1", "voice": "me", "input": "Hello."}
    assert (await stranger.post("/v1/audio/speech", json=body)).status_code == 401
    assert (await stranger.post("/api/generate-audio", json={"topic": "a", "value": "b"})).status_code == 401
