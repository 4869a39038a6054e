"""Speaks in voices that are kept at ElevenLabs, and hands on each chunk as it arrives.

Switched on by naming this class in SYNTHESIS_ENGINES and a key file in SYNTHESIS_ELEVENLABS_API_KEY_FILE.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import stamina
import structlog
from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kernel.errors import Kind, ServiceError
from services.synthesis.domain import (
    Delivery,
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    SpeechFailed,
    Utterance,
    VoiceNotEnrolled,
)

log = structlog.get_logger()

_RATE: Final = 24_000
_CONNECT_SECONDS: Final = 3.0
_IDLE_SECONDS: Final = 60.0
_MOST_ERROR_BYTES: Final = 64 << 10
# Together below a second: somebody is listening for the first word.
_ATTEMPTS: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.1
_SLOWEST, _FASTEST = 0.7, 1.2

_29_LANGUAGES: Final = frozenset(
    {"ar", "bg", "cs", "da", "de", "el", "en", "es", "fi", "fil", "fr", "hi", "hr", "id", "it"}
) | {"ja", "ko", "ms", "nl", "pl", "pt", "ro", "ru", "sk", "sv", "ta", "tr", "uk", "zh"}


@dataclass(frozen=True, slots=True)
class _Model:
    languages: frozenset[str]
    # Told the language, it does not guess it from a short text; the older model refuses to be told.
    takes_language: bool


_MODELS: Final = {
    "eleven_flash_v2_5": _Model(_29_LANGUAGES | {"hu", "no", "vi"}, True),
    "eleven_turbo_v2_5": _Model(_29_LANGUAGES | {"hu", "no", "vi"}, True),
    "eleven_multilingual_v2": _Model(_29_LANGUAGES, False),
    "eleven_v3": _Model(_29_LANGUAGES | {"hu", "no", "vi"}, True),
}


class ElevenLabsSettings(BaseSettings):
    """Read when the engine is made, from SYNTHESIS_ELEVENLABS_* variables."""

    model_config = SettingsConfigDict(env_prefix="SYNTHESIS_ELEVENLABS_", frozen=True)

    api_key_file: Path
    base_url: HttpUrl = HttpUrl("https://api.elevenlabs.io")
    model: Literal["eleven_flash_v2_5", "eleven_turbo_v2_5", "eleven_multilingual_v2", "eleven_v3"] = (
        "eleven_flash_v2_5"
    )
    # Kept and used again: making one costs up to a second.
    connections: int = Field(default=20, ge=1, le=1000)
    # Without a byte for so long, the provider is given up on.
    silence_seconds: float = Field(default=5, gt=0, le=30)


class VoicesMadeElsewhere(ServiceError):
    kind, reason = Kind.INVALID, "VOICES_MADE_ELSEWHERE"
    action = "Make the voice at the speech provider."


class ProviderClosedToUs(EngineUnavailable):
    """Asking again does not help before somebody pays, or changes a setting."""

    action = "Choose another speech engine; tell whoever runs this server."
    retry_after_seconds = 0


class _Busy(EngineOverloaded):
    """The provider as a whole, not our own share of it: asking again in a moment helps."""


class ElevenLabsEngine:
    name = "elevenlabs"
    sample_rate = _RATE

    def __init__(self, settings: ElevenLabsSettings | None = None) -> None:
        self._settings = settings or ElevenLabsSettings()  # type: ignore[call-arg]
        self._model = _MODELS[self._settings.model]
        self._http = httpx.AsyncClient(
            base_url=str(self._settings.base_url),
            headers={"xi-api-key": _key(self._settings.api_key_file)},
            http2=True,
            timeout=httpx.Timeout(self._settings.silence_seconds, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=self._settings.connections,
                max_keepalive_connections=self._settings.connections,
                keepalive_expiry=_IDLE_SECONDS,
            ),
        )

    async def start(self) -> None:
        """Opens the first connection. Other engines serve even when this provider is away."""
        try:
            response = await self._http.get("/v1/models")
            failed = None if response.is_success else f"status {response.status_code}"
        except httpx.HTTPError as error:
            failed = type(error).__name__
        if failed:
            log.warning("speech_provider_absent_at_start", engine=self.name, cause=failed)

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        """Raises VoicesMadeElsewhere: this engine speaks in voices that its provider keeps."""
        raise VoicesMadeElsewhere("Voices of this engine are made and kept at its provider.")

    async def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        """Once the first chunk is out, nothing is asked again: it would be paid for and heard twice."""
        request = self._request(utterance, voice)
        response = await self._begun(request)
        try:
            rest = b""
            async for chunk in response.aiter_bytes():
                whole = rest + chunk
                rest = whole[len(whole) & ~1 :]
                if len(whole) > 1:
                    yield whole[: len(whole) & ~1]
        except httpx.HTTPError as error:
            raise EngineUnavailable("The speech provider broke off.") from error
        finally:
            # Also when the listener leaves: the provider stops, and its seat is free again.
            await response.aclose()
        if rest:
            raise SpeechFailed("The speech provider sent half a sample.")

    async def close(self) -> None:
        await self._http.aclose()

    def _request(self, utterance: Utterance, voice: EnrolledVoice) -> httpx.Request:
        language = utterance.language.split("-")[0].lower()
        if language not in self._model.languages:
            raise LanguageNotSpoken(f"No voice speaks {utterance.language!r}.")
        if not voice.voice_id.isascii() or not voice.voice_id.isalnum():
            raise VoiceNotEnrolled("The voice is not one of this engine's.")
        body: dict[str, Any] = {
            "text": utterance.text,
            "model_id": self._settings.model,
            "voice_settings": _voice_settings(utterance.delivery),
        }
        if self._model.takes_language:
            body["language_code"] = language
        # Not MP3: nothing has to be decoded before the first chunk can go on.
        path, wanted = f"/v1/text-to-speech/{voice.voice_id}/stream", {"output_format": f"pcm_{_RATE}"}
        return self._http.build_request("POST", path, params=wanted, json=body)

    async def _begun(self, request: httpx.Request) -> httpx.Response:
        """The response whose audio begins. Asks again only when the provider did not take the request."""
        async for attempt in stamina.retry_context(
            on=_Busy, attempts=_ATTEMPTS, wait_initial=_FIRST_PAUSE_SECONDS, wait_jitter=_FIRST_PAUSE_SECONDS
        ):
            with attempt:
                return await self._sent(request)
        raise AssertionError("the last attempt returns or raises")

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise EngineUnavailable("The speech provider does not answer.") from error
        try:
            await _check(response)
        except BaseException:
            await response.aclose()
            raise
        return response


async def _check(response: httpx.Response) -> None:
    """Whether audio follows."""
    if response.status_code != httpx.codes.OK:
        raise _refusal(response.status_code, await _bounded(response))
    if response.headers.get("content-type", "").startswith(("text/", "application/json")):
        raise SpeechFailed("The speech provider sent something that is no speech.")


def _voice_settings(delivery: Delivery) -> dict[str, float | bool]:
    return {
        "stability": delivery.stability,
        "similarity_boost": delivery.similarity,
        "style": delivery.style,
        "use_speaker_boost": True,
        # The provider refuses what is beyond these.
        "speed": min(max(delivery.speed, _SLOWEST), _FASTEST),
    }


def _key(file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{file} does not hold an API key")
    return key


async def _bounded(response: httpx.Response) -> bytes:
    """What there is of an error's body; it may be cut off like any other."""
    read = bytearray()
    with suppress(httpx.HTTPError):
        async for chunk in response.aiter_bytes():
            read += chunk
            if len(read) > _MOST_ERROR_BYTES:
                break
    return bytes(read)


def _refusal(code: int, body: bytes) -> ServiceError:
    """By status: the code of an error varies, also over time."""
    status = _status(body)
    if status not in _REFUSALS and code == httpx.codes.TOO_MANY_REQUESTS:
        status = "system_busy"
    if status in _REFUSALS:
        kind, message = _REFUSALS[status]
        return kind(message)
    if code >= 500:
        return EngineUnavailable("The speech provider has a problem.")
    log.error("speech_provider_refused_us", code=code, status=status[:60])
    return ProviderClosedToUs("The speech provider did not accept the request.")


def _status(body: bytes) -> str:
    try:
        detail = json.loads(body)["detail"]
        return detail["status"] if isinstance(detail["status"], str) else ""
    except (ValueError, KeyError, TypeError, IndexError):
        return ""


_REFUSALS: Final[Mapping[str, tuple[type[ServiceError], str]]] = {
    "too_many_concurrent_requests": (EngineOverloaded, "All our seats at the speech provider are taken."),
    "system_busy": (_Busy, "The speech provider is busy."),
    "voice_not_found": (VoiceNotEnrolled, "The voice is no longer at the speech provider."),
    "quota_exceeded": (ProviderClosedToUs, "The speech provider's quota is spent."),
    "max_character_limit_exceeded": (SpeechFailed, "The text is too long for the speech provider's model."),
}
