"""Speaks in a voice of the provider's, in turn with all replicas, and hands on each chunk as it arrives."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any, Final

import httpx
import stamina
import structlog

from services.kernel.client import outgoing
from services.kernel.settings import read, read_key_file
from services.synthesis.domain import (
    Delivery,
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    ProviderClosedToUs,
    SpeechFailed,
    Utterance,
    VoiceNotEnrolled,
    nothing_more,
)
from services.synthesis.engines.elevenlabs.parts import parts
from services.synthesis.engines.elevenlabs.refusals import (
    NoSeatLeft,
    NotTaken,
    ProviderBusy,
    VoicesMadeElsewhere,
    check,
)
from services.synthesis.engines.elevenlabs.settings import MODELS, ElevenLabsSettings
from services.synthesis.gate import Gate, Seat, Terms
from services.synthesis.settings import GateSettings
from services.synthesis.valkey import Shared, open_gate

log = structlog.get_logger()

_RATE: Final = 24_000
_CONNECT_SECONDS: Final = 3.0
_IDLE_SECONDS: Final = 60.0
# Somebody is listening for the first word; the caller's patience ends it as well.
_ATTEMPTS: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
# Whoever has less time left than this need not begin to speak.
_SPEAKING_SECONDS: Final = 1.0
_SLOWEST, _FASTEST = 0.7, 1.2
# A memo that is being heard and cannot go on is tried for so long.
_GOING_ON_SECONDS: Final = 5.0


class ElevenLabsEngine:
    name = "elevenlabs"
    sample_rate = _RATE

    def __init__(self, settings: ElevenLabsSettings | None = None, gate: GateSettings | None = None) -> None:
        self._settings = settings or read(ElevenLabsSettings)
        self._where = gate or read(GateSettings)
        self.model = self._settings.model
        self._traits = MODELS[self.model]
        self._key = read_key_file("SYNTHESIS_ELEVENLABS_API_KEY_FILE", self._settings.api_key_file)
        self._http = httpx.AsyncClient(
            base_url=str(self._settings.base_url),
            headers={"xi-api-key": self._key},
            # Over HTTP/2, httpcore only stops reading when a listener leaves: the provider goes on, and what
            # it sends uses up the window of the one connection, until no memo of this process has audio.
            http2=False,
            timeout=httpx.Timeout(self._settings.silence_seconds, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=self._settings.connections,
                max_keepalive_connections=self._settings.connections,
                keepalive_expiry=_IDLE_SECONDS,
            ),
        )
        self._opened = AsyncExitStack()
        self._gate: Gate | None = None

    async def start(self) -> None:
        """Opens the first connection. Other engines serve even when this provider is away."""
        self._gate = await self._opened.enter_async_context(
            open_gate(
                self.name,
                f"{self._key} {self._traits.kind}",
                Terms(self._traits.fewest_seats, self._settings.seats, self._settings.queue_limit),
                self._shared(),
            )
        )
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

    def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        return self.speak_as_written(utterance, nothing_more(), voice)

    async def speak_as_written(
        self, utterance: Utterance, further: AsyncIterator[str], voice: EnrolledVoice
    ) -> AsyncGenerator[bytes, None]:
        """One request for each piece of the text, in one seat. Once a piece's first chunk is out, it is not
        asked for again: it would be paid for and heard twice."""
        said, *rest = parts(utterance.text.lstrip(), self._traits.most_characters)
        request = self._request(replace(utterance, text=said), voice)
        if self._gate is None:
            raise EngineUnavailable("The voice cannot speak right now.")
        async with self._gate.seat(self._patience()) as seat:
            async with aclosing(_heard(await self._begun(request, seat), said)) as speech:
                async for pcm in speech:
                    yield pcm
            async with aclosing(self._parts(rest, further)) as texts:
                async for text in texts:
                    before, said = said, said + text
                    if not text.strip():
                        continue
                    request = self._request(replace(utterance, text=text.strip()), voice, before)
                    first, speech = await self._gone_on(request, text)
                    async with aclosing(speech):
                        if first:
                            yield first
                        async for pcm in speech:
                            yield pcm

    async def close(self) -> None:
        self._gate = None
        await self._http.aclose()
        await self._opened.aclose()

    async def _parts(self, rest: Sequence[str], further: AsyncIterator[str]) -> AsyncGenerator[str, None]:
        """How the text goes on, in parts that the model takes."""
        for text in rest:
            yield text
        async for text in further:
            for part in parts(text, self._traits.most_characters):
                yield part

    def _shared(self) -> Shared | None:
        url = self._where.valkey_url
        return Shared(str(url), self._where.valkey_seconds) if url else None

    def _patience(self) -> float:
        """How long this caller may wait, and still hear something within the deadline of the call."""
        allowed: float = outgoing(self._settings.patience_seconds + _SPEAKING_SECONDS)["timeout"]
        return allowed - _SPEAKING_SECONDS

    def _request(self, utterance: Utterance, voice: EnrolledVoice, said: str = "") -> httpx.Request:
        language = utterance.language.split("-")[0].lower()
        if language not in self._traits.languages:
            raise LanguageNotSpoken(f"No voice speaks {utterance.language!r}.")
        if not voice.voice_id.isascii() or not voice.voice_id.isalnum():
            raise VoiceNotEnrolled("The voice is not one of this engine's.")
        body: dict[str, Any] = {
            "text": utterance.text,
            "model_id": self.model,
            "voice_settings": _voice_settings(utterance.delivery),
        }
        if self._traits.takes_language:
            body["language_code"] = language
        if said and self._traits.takes_context:
            body["previous_text"] = said
        # Not MP3: nothing has to be decoded before the first chunk can go on.
        path, wanted = f"/v1/text-to-speech/{voice.voice_id}/stream", {"output_format": f"pcm_{_RATE}"}
        return self._http.build_request("POST", path, params=wanted, json=body)

    async def _begun(self, request: httpx.Request, seat: Seat) -> httpx.Response:
        """The response whose audio begins. Asks again only when the provider did not take the request."""
        async for attempt in stamina.retry_context(
            on=(ProviderBusy, NotTaken),
            attempts=_ATTEMPTS,
            timeout=max(seat.seconds_left, _FIRST_PAUSE_SECONDS),
            wait_initial=_FIRST_PAUSE_SECONDS,
            wait_max=_LONGEST_PAUSE_SECONDS,
            wait_jitter=_FIRST_PAUSE_SECONDS,
        ):
            with attempt:
                return await self._sent_from_a_seat(request, seat)
        raise AssertionError("the last attempt returns or raises")

    async def _gone_on(self, request: httpx.Request, text: str) -> tuple[bytes, AsyncGenerator[bytes, None]]:
        """A piece's first chunk, and the rest. For a memo that is being heard: until the piece has a chunk it
        is asked for again whatever the cause, unless that cannot help. The seat is ours; a provider that
        counts the request before as still running is only behind."""
        async for attempt in stamina.retry_context(
            on=_may_pass,
            attempts=_ATTEMPTS,
            timeout=_GOING_ON_SECONDS,
            wait_initial=_FIRST_PAUSE_SECONDS,
            wait_max=_LONGEST_PAUSE_SECONDS,
            wait_jitter=_FIRST_PAUSE_SECONDS,
        ):
            with attempt:
                speech = _heard(await self._sent(request), text)
                return await anext(speech, b""), speech
        raise AssertionError("the last attempt returns or raises")

    async def _sent_from_a_seat(self, request: httpx.Request, seat: Seat) -> httpx.Response:
        """Refused for want of seats, it waits for one of ours to be left; others are not ours to wait for."""
        while True:
            try:
                return await self._sent(request)
            except NoSeatLeft as refused:
                if not await seat.another():
                    raise ProviderBusy("All seats at the speech provider are taken.") from refused

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self._http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotTaken("The speech provider cannot be reached.") from error
        except httpx.HTTPError as error:
            raise EngineUnavailable("The speech provider does not answer.") from error
        try:
            await check(response)
            await self._learn(response)
        except BaseException:
            await response.aclose()
            raise
        return response

    async def _learn(self, response: httpx.Response) -> None:
        seats = response.headers.get("maximum-concurrent-requests", "")
        if self._gate and seats.isascii() and seats.isdigit():
            await self._gate.learn(int(seats))


async def _heard(response: httpx.Response, text: str) -> AsyncGenerator[bytes, None]:
    """Whole samples. Raises SpeechFailed when there is none of a text with a word in it: the memo would be
    taken for whole without it."""
    rest, heard = b"", not any(map(str.isalnum, text))
    try:
        async for chunk in response.aiter_bytes():
            whole = rest + chunk
            rest = whole[len(whole) & ~1 :]
            if len(whole) > 1:
                heard = True
                yield whole[: len(whole) & ~1]
    except httpx.HTTPError as error:
        raise EngineUnavailable("The speech provider broke off.") from error
    finally:
        # Also when the listener leaves: the connection ends, the provider stops, and its seat is free again.
        await response.aclose()
    if rest:
        raise SpeechFailed("The speech provider sent half a sample.")
    if not heard:
        raise SpeechFailed("The speech provider left out a part of the text.")


def _may_pass(failure: Exception) -> bool:
    is_down = isinstance(failure, EngineUnavailable) and not isinstance(failure, ProviderClosedToUs)
    return is_down or isinstance(failure, EngineOverloaded)


def _voice_settings(delivery: Delivery) -> dict[str, float | bool]:
    return {
        "stability": delivery.stability,
        "similarity_boost": delivery.similarity,
        "style": delivery.style,
        "use_speaker_boost": True,
        # The provider refuses what is beyond these.
        "speed": min(max(delivery.speed, _SLOWEST), _FASTEST),
    }
