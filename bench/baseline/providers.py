"""The text model and the speech provider, over one HTTP client each."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import httpx

from bench.baseline.settings import Settings

RATE = 24_000
_SHORTEST, _LONGEST, _ATTEMPTS = 80, 120, 3
_INSTRUCTION = (
    "You write what somebody says in a calm voice note in the morning: one or two short sentences of 80 to"
    " 120 characters that say the value of the brief exactly once and never what kind of thing it is."
)


class ProviderFailed(Exception):
    """The provider refused, or cannot be reached."""


class Providers:
    def __init__(self, text: httpx.AsyncClient, speech: httpx.AsyncClient, settings: Settings) -> None:
        self._text = text
        self._speech = speech
        self._settings = settings
        self._seats = asyncio.Semaphore(settings.elevenlabs_seats)

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings) -> AsyncIterator["Providers"]:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200, keepalive_expiry=60)
        text_key = {"x-goog-api-key": settings.gemini_key.get_secret_value()}
        speech_key = {"xi-api-key": settings.elevenlabs_key.get_secret_value()}
        async with (
            httpx.AsyncClient(
                base_url=str(settings.gemini_url), headers=text_key, limits=limits, timeout=10
            ) as text,
            httpx.AsyncClient(
                base_url=str(settings.elevenlabs_url), headers=speech_key, limits=limits, timeout=10
            ) as speech,
        ):
            yield cls(text, speech, settings)

    async def note(self, routine: str, value: str, language: str) -> str:
        """What is to be said. Raises ProviderFailed."""
        brief = json.dumps({"value": value, "language": language, "topic": routine}, ensure_ascii=False)
        body = {
            "systemInstruction": {"parts": [{"text": _INSTRUCTION}]},
            "contents": [{"role": "user", "parts": [{"text": f"<brief>{brief}</brief>"}]}],
            "generationConfig": {"temperature": 1.0, "thinkingConfig": {"thinkingBudget": 0}},
        }
        path = f"v1beta/models/{self._settings.gemini_model}:generateContent"
        for _ in range(_ATTEMPTS):
            answer = await _answered(self._text.post(path, json=body))
            parts = answer.json()["candidates"][0]["content"]["parts"]
            text = "".join(part["text"] for part in parts).strip()
            if _SHORTEST <= len(text) <= _LONGEST and text.count(value) == 1:
                return text
        raise ProviderFailed("the text model kept breaking the rules")

    async def add_voice(self, user_id: str, sample: bytes) -> str:
        answer = await _answered(
            self._speech.post(
                "v1/voices/add",
                data={"name": user_id},
                files={"files": ("sample.mp3", sample, "audio/mpeg")},
            )
        )
        return str(answer.json()["voice_id"])

    async def delete_voice(self, voice_id: str) -> None:
        await _answered(self._speech.delete(f"v1/voices/{voice_id}"))

    async def speak(self, voice_id: str, text: str) -> AsyncGenerator[bytes, None]:
        """16-bit PCM at RATE, as it arrives. Raises ProviderFailed."""
        path = f"v1/text-to-speech/{voice_id}/stream?output_format=pcm_{RATE}"
        body = {
            "text": text,
            "model_id": self._settings.elevenlabs_model,
            "voice_settings": {"stability": 0.5, "similarity_boost": 0.75},
        }
        try:
            async with self._seats, self._speech.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise ProviderFailed(f"the speech provider answered {response.status_code}")
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.HTTPError as error:
            raise ProviderFailed("the speech provider broke off") from error


async def _answered(request: Awaitable[httpx.Response]) -> httpx.Response:
    try:
        response = await request
    except httpx.HTTPError as error:
        raise ProviderFailed("the provider cannot be reached") from error
    if not response.is_success:
        raise ProviderFailed(f"the provider answered {response.status_code}")
    return response
