"""Small services behind a real gateway: each request says in its own words how it wants to be answered."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api import httpbody_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gateway.settings import SERVICES
from newvisions.auth.v1 import api_key_service_pb2 as key_pb
from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from newvisions.auth.v1.api_key_service_pb2_grpc import (
    ApiKeyServiceServicer,
    add_ApiKeyServiceServicer_to_server,
)
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceServicer, add_AuthServiceServicer_to_server
from newvisions.perform.v1 import perform_service_pb2 as perform_pb
from newvisions.perform.v1 import speech_service_pb2 as speech_pb
from newvisions.perform.v1.perform_service_pb2_grpc import (
    PerformServiceServicer,
    add_PerformServiceServicer_to_server,
)
from newvisions.perform.v1.speech_service_pb2_grpc import (
    SpeechServiceServicer,
    add_SpeechServiceServicer_to_server,
)
from newvisions.synthesis.v1 import synthesis_service_pb2 as synthesis_pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import (
    SynthesisServiceServicer,
    add_SynthesisServiceServicer_to_server,
)
from newvisions.voice.v1 import voice_service_pb2 as voice_pb
from newvisions.voice.v1.voice_service_pb2_grpc import (
    VoiceServiceServicer,
    add_VoiceServiceServicer_to_server,
)
from services.kernel.client import MAX_MESSAGE_BYTES
from services.kernel.errors import Kind, ServiceError
from services.kernel.server import Handlers
from services.perform.places import Places

KEY = Ed25519PrivateKey.generate()
KEY_ID = "stage-1"
MP3 = b"ID3" + bytes(range(256)) * 40


class CreditsExhausted(ServiceError):
    kind, reason = Kind.UNPAID, "CREDITS_EXHAUSTED"
    action = "Wait for the month to turn."


class EngineBusy(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"
    action = "Try again soon."
    retry_after_seconds = 7


class Slowed(ServiceError):
    kind, reason = Kind.EXHAUSTED, "LOGIN_SLOWED"
    action = "Wait."
    retry_after_seconds = 9


class ContentRefused(ServiceError):
    kind, reason = Kind.REFUSED, "CONTENT_REFUSED"
    action = "Choose another value."


def token(subject: str = "ada", *, seconds: int = 10_800, **claims: Any) -> str:
    """An access token as the auth service would make it; some are made when a long run begins."""
    now = int(time.time())
    body = {
        "iss": "newvisions",
        "aud": "newvisions",
        "sub": subject,
        "sid": "session-1",
        "roles": "",
        "iat": now,
        "exp": now + seconds,
        **claims,
    }
    return jwt.encode(body, KEY, algorithm="EdDSA", headers={"kid": KEY_ID})


def bearer(subject: str = "ada", **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {token(subject, **claims)}"}


class ExchangeRefused(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "REFUSED_BY_AUTH"
    action = "Check what you show."


class Exchange:
    """Knows the keys or cookies that a test gave it, and how often the gateway asked about each."""

    def __init__(self) -> None:
        self.known: dict[str, Callable[[], str]] = {}
        self.seconds = 300
        self.out_of_order = False
        self.calls: Counter[str] = Counter()
        self.metadata: dict[str, Any] = {}
        self.seconds_left: float | None = None
        # Counts up with each question; answers wait until it is open.
        self.asked = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.open.set()

    async def trade(self, shown: str, context: Any) -> str:
        self.calls[shown] += 1
        self.metadata = dict(context.invocation_metadata())
        self.seconds_left = context.time_remaining()
        self.asked.release()
        await self.open.wait()
        if self.out_of_order:
            raise EngineBusy("Not now.")
        if shown not in self.known:
            raise ExchangeRefused("It is not valid.")
        return self.known[shown]()


class Auth(AuthServiceServicer):
    def __init__(self, sessions: Exchange) -> None:
        self._sessions = sessions

    async def ExchangeSessionCookie(
        self, request: auth_pb.ExchangeSessionCookieRequest, context: Any
    ) -> auth_pb.ExchangeSessionCookieResponse:
        made = await self._sessions.trade(request.cookie, context)
        return auth_pb.ExchangeSessionCookieResponse(access_token=made, expires_in=self._sessions.seconds)

    async def GetSettings(
        self, request: auth_pb.GetSettingsRequest, context: Any
    ) -> auth_pb.GetSettingsResponse:
        """With the name that the request has instead of a user's; none for "me"."""
        name = None if request.user_id == "me" else request.user_id
        return auth_pb.GetSettingsResponse(voice_language="en", voice_note_name=name)

    async def GetJwks(self, request: auth_pb.GetJwksRequest, context: Any) -> auth_pb.GetJwksResponse:
        x = urlsafe_b64encode(KEY.public_key().public_bytes_raw()).decode().rstrip("=")
        key = auth_pb.Jwk(kty="OKP", crv="Ed25519", x=x, kid=KEY_ID, alg="EdDSA", use="sig")
        return auth_pb.GetJwksResponse(keys=[key])

    async def Login(self, request: auth_pb.LoginRequest, context: Any) -> auth_pb.LoginResponse:
        await context.send_initial_metadata((("set-cookie", "newvisions_session=t; HttpOnly"),))
        return auth_pb.LoginResponse(username=request.username)


class ApiKeys(Exchange, ApiKeyServiceServicer):
    async def ExchangeApiKey(
        self, request: key_pb.ExchangeApiKeyRequest, context: Any
    ) -> key_pb.ExchangeApiKeyResponse:
        made = await self.trade(request.key, context)
        return key_pb.ExchangeApiKeyResponse(access_token=made, expires_in=self.seconds)


class Perform(PerformServiceServicer):
    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.given_up = asyncio.Event()
        self.go_on = asyncio.Event()

    async def Perform(self, request: perform_pb.PerformRequest, context: Any) -> perform_pb.PerformResponse:
        """Answers with what the service was told about the request."""
        self.calls[request.value] += 1
        _refuse(request.value)
        told = {"metadata": dict(context.invocation_metadata()), "seconds": context.time_remaining()}
        return perform_pb.PerformResponse(text=json.dumps(told, default=repr))

    async def StreamPerform(
        self, request: perform_pb.StreamPerformRequest, context: Any
    ) -> AsyncIterator[perform_pb.StreamPerformResponse]:
        self.calls[request.value] += 1
        _refuse(request.value)
        await context.send_initial_metadata((("recording-id", "r-1"), ("voice-source", "local_clone")))
        yield _chunk(b"first")
        if request.value == "cut":
            raise RuntimeError("secret detail")
        await self._wait_for(self.go_on)
        yield _chunk(b"second")

    async def ListRecordings(
        self, request: perform_pb.ListRecordingsRequest, context: Any
    ) -> perform_pb.ListRecordingsResponse:
        self.calls[request.page_token] += 1
        if self.calls[request.page_token] == 1 and request.page_token.startswith("once-busy"):
            raise EngineBusy("The engine is busy.")
        return perform_pb.ListRecordingsResponse()

    async def GetRecording(
        self, request: perform_pb.GetRecordingRequest, context: Any
    ) -> perform_pb.GetRecordingResponse:
        if request.recording_id == "slow":
            await self._wait_for(asyncio.Event())
        return perform_pb.GetRecordingResponse(id=request.recording_id, title="é" * 2000)

    async def GetRecordingAudio(
        self, request: perform_pb.GetRecordingAudioRequest, context: Any
    ) -> perform_pb.GetRecordingAudioResponse:
        data = MP3
        if dict(context.invocation_metadata()).get("range") == "bytes=0-99":
            data = MP3[:100]
            part = (("x-http-status", "206"), ("content-range", f"bytes 0-99/{len(MP3)}"))
            await context.send_initial_metadata(part)
        body = httpbody_pb2.HttpBody(content_type="audio/mpeg", data=data)
        return perform_pb.GetRecordingAudioResponse(body=body)

    async def GetHealth(
        self, request: perform_pb.GetHealthRequest, context: Any
    ) -> perform_pb.GetHealthResponse:
        return perform_pb.GetHealthResponse(status="ok")

    async def _wait_for(self, event: asyncio.Event) -> None:
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise


def _chunk(data: bytes) -> perform_pb.StreamPerformResponse:
    body = httpbody_pb2.HttpBody(content_type="audio/mpeg", data=data)
    return perform_pb.StreamPerformResponse(body=body)


class Speech(SpeechServiceServicer):
    async def CreateSpeech(
        self, request: speech_pb.CreateSpeechRequest, context: Any
    ) -> AsyncIterator[speech_pb.CreateSpeechResponse]:
        _refuse(request.input)
        yield speech_pb.CreateSpeechResponse(body=httpbody_pb2.HttpBody(content_type="audio/mpeg", data=MP3))


class Synthesis(SynthesisServiceServicer):
    async def GetFanSound(
        self, request: synthesis_pb.GetFanSoundRequest, context: Any
    ) -> synthesis_pb.GetFanSoundResponse:
        body = httpbody_pb2.HttpBody(content_type="audio/mpeg", data=MP3)
        return synthesis_pb.GetFanSoundResponse(body=body)


class Voice(VoiceServiceServicer):
    async def GetVoiceMeta(
        self, request: voice_pb.GetVoiceMetaRequest, context: Any
    ) -> voice_pb.GetVoiceMetaResponse:
        return voice_pb.GetVoiceMetaResponse(state="none")

    async def UploadVoice(
        self, request: voice_pb.UploadVoiceRequest, context: Any
    ) -> voice_pb.UploadVoiceResponse:
        return voice_pb.UploadVoiceResponse(bytes=len(request.audio_base64))

    async def UploadVoiceFile(
        self, request: voice_pb.UploadVoiceFileRequest, context: Any
    ) -> voice_pb.UploadVoiceFileResponse:
        return voice_pb.UploadVoiceFileResponse(
            bytes=len(request.file.data), status=request.file.content_type, hash=request.consent
        )


NO_PLACES = Places("stage", least=0, most=0)


def _refuse(value: str) -> None:
    if value == "full":
        with NO_PLACES.one():
            raise AssertionError("there are none")
    refusals: dict[str, Exception] = {
        "unpaid": CreditsExhausted('Nothing is left of "this" month.'),
        "busy": EngineBusy("The engine is busy."),
        "slowed": Slowed("There were too many failed attempts."),
        "refused": ContentRefused("This cannot be said."),
        "crash": RuntimeError("secret detail"),
    }
    if value in refusals:
        raise refusals[value]


class Stage:
    """All five services on one port, which stays the same over a restart."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.perform = Perform()
        self.api_keys = ApiKeys()
        self.sessions = Exchange()

    @asynccontextmanager
    async def playing(self) -> AsyncIterator["Stage"]:
        handlers = Handlers()
        add_AuthServiceServicer_to_server(Auth(self.sessions), handlers)  # type: ignore[no-untyped-call]
        add_ApiKeyServiceServicer_to_server(self.api_keys, handlers)  # type: ignore[no-untyped-call]
        add_PerformServiceServicer_to_server(self.perform, handlers)  # type: ignore[no-untyped-call]
        add_SpeechServiceServicer_to_server(Speech(), handlers)  # type: ignore[no-untyped-call]
        add_SynthesisServiceServicer_to_server(Synthesis(), handlers)  # type: ignore[no-untyped-call]
        add_VoiceServiceServicer_to_server(Voice(), handlers)  # type: ignore[no-untyped-call]
        server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
        )
        handlers.attach_to(server)
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        for name in SERVICES:
            await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(grace=None)
