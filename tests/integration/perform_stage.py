"""The perform service on a real socket, with the four services it calls played by one object."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from newvisions.auth.v1 import auth_service_pb2 as auth
from newvisions.auth.v1 import auth_service_pb2_grpc as auth_grpc
from newvisions.content.v1 import content_service_pb2 as content
from newvisions.content.v1 import content_service_pb2_grpc as content_grpc
from newvisions.perform.v1 import perform_service_pb2 as pb
from newvisions.perform.v1.perform_service_pb2_grpc import PerformServiceStub
from newvisions.synthesis.v1 import synthesis_service_pb2 as synthesis
from newvisions.synthesis.v1 import synthesis_service_pb2_grpc as synthesis_grpc
from newvisions.voice.v1 import voice_service_pb2 as voice
from newvisions.voice.v1 import voice_service_pb2_grpc as voice_grpc
from services.kernel.client import Channels
from services.kernel.errors import Kind, ServiceError
from services.kernel.server import Handlers
from services.kernel.statuses import api_error
from services.perform.__main__ import open_service

TEXT = "Woke up early and the house was quiet, and for some reason seven of hearts was all I thought of."
# A text of a model that streams, as it comes.
FIRST, REST = (
    "Woke up early and the house was so quiet.",
    " All I thought of was the seven of hearts, don't ask.",
)
PIECES = [bytes([number]) * 30_000 for number in range(1, 5)]
AUDIO = b"".join(PIECES)
LIMIT = 4000


class Refused(ServiceError):
    """Any refusal of a peer."""

    kind, reason = Kind.UNPAID, "CREDITS_EXHAUSTED"


class Broken(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"


class Gone(ServiceError):
    kind, reason = Kind.CONFLICT, "PROVIDER_VOICE_MISSING"


class Peers(
    auth_grpc.AuthServiceServicer,
    voice_grpc.VoiceServiceServicer,
    content_grpc.ContentServiceServicer,
    synthesis_grpc.SynthesisServiceServicer,
):
    """Keeps books as the real ones do; `fail` makes a call fail, `held` makes the speech wait."""

    def __init__(self) -> None:
        self.fail: dict[str, Exception] = {}
        self.calls: list[str] = []
        self.reserved: set[str] = set()
        self.leased: set[str] = set()
        self.charged: dict[str, int] = {}
        # The model for which credits were set aside, and the one that the speech was charged as.
        self.asked_for: dict[str, str] = {}
        self.priced: dict[str, str] = {}
        # What the speech service says that it spoke with; empty as an older release has it.
        self.model = "quick"
        self.spoken: list[synthesis.SynthesizeRequest] = []
        self.settings = auth.GetSettingsResponse(voice_language="en", voice_stability=50, voice_similarity=75)
        self.sample_at = Timestamp(seconds=1_600_000_000)
        self.whole = True
        # The voice has to be cloned again, and is there when this is set; None: it is there.
        self.recloned: asyncio.Event | None = None
        # The text model writes piece by piece; its rest waits for `written`.
        self.streams = False
        self.written = asyncio.Event()
        self.written.set()
        self.texts: list[str] = []
        # Calls that an older release does not have.
        self.unknown: set[str] = set()
        # Voices that the speech provider does not know.
        self.missing = 0
        self.held = asyncio.Event()
        self.held.set()
        self._changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    async def _answer_like_an_older_release(self, call: str, context: Any) -> None:
        if call in self.unknown:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    async def _note(self, call: str) -> None:
        async with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        if call in self.fail:
            raise self.fail[call]

    async def ReserveCredits(self, request: auth.ReserveCreditsRequest, context: Any) -> Any:
        await self._note("reserve")
        self.reserved.add(request.performance_id)
        self.asked_for[request.performance_id] = request.model
        return auth.ReserveCreditsResponse(reserved=request.max_characters, settings=self.settings)

    async def SettleCredits(self, request: auth.SettleCreditsRequest, context: Any) -> Any:
        await self._note("settle")
        self.reserved.discard(request.performance_id)
        cost = self.charged.setdefault(request.performance_id, request.characters)
        self.priced[request.performance_id] = request.model
        return auth.SettleCreditsResponse(
            charged=cost, char_count=sum(self.charged.values()), monthly_limit=LIMIT
        )

    async def ReleaseCredits(self, request: auth.ReleaseCreditsRequest, context: Any) -> Any:
        self.reserved.discard(request.performance_id)
        await self._note("give back")
        return auth.ReleaseCreditsResponse()

    async def LeaseVoice(self, request: voice.LeaseVoiceRequest, context: Any) -> Any:
        self.leased.add(request.performance_id)
        if self.recloned is None or request.without_waiting:
            await self._note("lease")
        if self.recloned is not None and request.without_waiting:
            return voice.LeaseVoiceResponse(pending=True)
        if self.recloned is not None:
            await self.recloned.wait()
            await self._note("recloned")
        return voice.LeaseVoiceResponse(
            engine="tone",
            engine_voice_id="v1",
            profile=b"profile",
            voice_source="local_clone",
            sample_hash="5a",
        )

    async def ReleaseVoice(self, request: voice.ReleaseVoiceRequest, context: Any) -> Any:
        self.leased.discard(request.performance_id)
        await self._note("release")
        return voice.ReleaseVoiceResponse()

    async def GetVoiceMeta(self, request: voice.GetVoiceMetaRequest, context: Any) -> Any:
        await self._note("meta")
        return voice.GetVoiceMetaResponse(has_sample=True, state="ready", updated_at=self.sample_at)

    async def ComposeNote(self, request: content.ComposeNoteRequest, context: Any) -> Any:
        await self._note("compose")
        return content.ComposeNoteResponse(text=TEXT, model="offline", streams=self.streams)

    async def StreamNote(self, request: content.StreamNoteRequest, context: Any) -> AsyncIterator[Any]:
        await self._note("stream")
        await self._answer_like_an_older_release("stream", context)
        yield content.StreamNoteResponse(text=FIRST)
        try:
            await self.written.wait()
        except (asyncio.CancelledError, GeneratorExit):
            await self._note("writing cancelled")
            raise
        await self._note("write on")
        yield content.StreamNoteResponse(
            text=REST, written=content.Written(model="pen", streams=self.streams)
        )

    async def ReportMissingVoice(self, request: voice.ReportMissingVoiceRequest, context: Any) -> Any:
        await self._note("missing")
        return voice.ReportMissingVoiceResponse()

    async def SynthesizeAsWritten(
        self, requests: AsyncIterator[synthesis.SynthesizeAsWrittenRequest], context: Any
    ) -> AsyncIterator[Any]:
        await self._note("speak as written")
        await self._answer_like_an_older_release("speak as written", context)
        if self.missing:
            self.missing -= 1
            raise Gone("The voice is gone.")
        said = ""
        async for request in requests:
            said += request.text or request.opening.text
            self.texts.append(said)
            yield synthesis.SynthesizeAsWrittenResponse(audio=PIECES[0])
        for piece in PIECES[1:]:
            yield synthesis.SynthesizeAsWrittenResponse(audio=piece)
        made = synthesis.Summary(duration_seconds=7.5, waveform=range(64))
        yield synthesis.SynthesizeAsWrittenResponse(summary=made)

    async def Synthesize(self, request: synthesis.SynthesizeRequest, context: Any) -> AsyncIterator[Any]:
        await self._note("speak")
        self.spoken.append(request)
        for number, piece in enumerate(PIECES):
            yield synthesis.SynthesizeResponse(audio=piece, model="" if number else self.model)
            if number == 0:
                try:
                    await self.held.wait()
                except asyncio.CancelledError:
                    await self._note("speech cancelled")
                    raise
                await self._note("speak on")
        if self.whole:
            made = synthesis.Summary(duration_seconds=7.5, waveform=range(64))
            yield synthesis.SynthesizeResponse(summary=made)


@dataclass
class Stage:
    channel: grpc.aio.Channel
    peers: Peers
    user_id: str = field(default_factory=lambda: f"user-{uuid4()}")

    @property
    def stub(self) -> Any:
        return PerformServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def raw_stream(self, request: pb.StreamPerformRequest) -> Any:
        """The messages as they are on the wire, also those that nobody can parse."""
        method = "/newvisions.perform.v1.PerformService/StreamPerform"
        call = self.channel.unary_stream(method, request_serializer=type(request).SerializeToString)
        return call(request, **self.by())

    def by(self, user_id: str = "", **headers: str) -> dict[str, Any]:
        """Options of a call by that user, with these headers (an underscore for each dash)."""
        named = ((name.replace("_", "-"), value) for name, value in headers.items())
        return {"metadata": (("x-user-id", user_id or self.user_id), *named), "timeout": 20}

    async def perform(self, user_id: str = "", **headers: str) -> pb.PerformResponse:
        answer: pb.PerformResponse = await self.stub.Perform(order(), **self.by(user_id, **headers))
        return answer

    async def performance(self, performance_id: str, user_id: str = "") -> pb.GetPerformanceResponse:
        request = pb.GetPerformanceRequest(performance_id=performance_id)
        found: pb.GetPerformanceResponse = await self.stub.GetPerformance(request, **self.by(user_id))
        return found

    async def ended(self, performance_id: str) -> pb.GetPerformanceResponse:
        async with asyncio.timeout(10):
            while True:
                found = await self.performance(performance_id)
                if found.state not in {"pending", "running"}:
                    return found
                await asyncio.sleep(0.01)

    async def recordings(self, **asked: Any) -> pb.ListRecordingsResponse:
        request = pb.ListRecordingsRequest(**asked)
        page: pb.ListRecordingsResponse = await self.stub.ListRecordings(request, **self.by())
        return page


def order(**changes: Any) -> pb.PerformRequest:
    return pb.PerformRequest(**{"routine_type": "cards", "value": "seven of hearts", **changes})


def stream_order(**changes: Any) -> pb.StreamPerformRequest:
    return pb.StreamPerformRequest(**{"routine_type": "cards", "value": "seven of hearts", **changes})


async def heard(call: Any) -> bytes:
    return b"".join([message.body.data async for message in call])


async def outcome(call: Any) -> str:
    """The text of the memo, or the reason why there is none."""
    try:
        return str((await call).text)
    except grpc.aio.AioRpcError as failure:
        error, _ = api_error(failure)
        return error.error if error else failure.code().name


async def refusal(call: Any) -> tuple[int, str]:
    """The HTTP status and the code of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error, _ = api_error(failure.value)
    assert error is not None, failure.value
    return error.http_status, error.error


async def told(call: Any) -> str:
    """The performance-id that came with a failure."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    metadata: dict[str, Any] = dict(failure.value.trailing_metadata() or ())
    return str(metadata["performance-id"])


@asynccontextmanager
async def listening(handlers: Handlers) -> AsyncIterator[str]:
    server = grpc.aio.server()
    handlers.attach_to(server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("readiness", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(5)


@asynccontextmanager
async def played(peers: Peers) -> AsyncIterator[str]:
    """The address at which all four peers answer."""
    handlers = Handlers()
    for add in (
        auth_grpc.add_AuthServiceServicer_to_server,
        voice_grpc.add_VoiceServiceServicer_to_server,
        content_grpc.add_ContentServiceServicer_to_server,
        synthesis_grpc.add_SynthesisServiceServicer_to_server,
    ):
        add(peers, handlers)  # type: ignore[no-untyped-call]
    async with listening(handlers) as address:
        yield address


@asynccontextmanager
async def performing() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the perform service, set up by the environment."""
    handlers = Handlers()
    channels = Channels(handlers, frozenset())
    async with (
        open_service(handlers, channels),
        listening(handlers) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel
    await channels.close()


def furnish(monkeypatch: pytest.MonkeyPatch, mongo_url: str, tmp_path: Path, **settings: object) -> None:
    """The environment of a perform service with a database and files of its own."""
    monkeypatch.setenv("PERFORM_MONGO_URL", mongo_url)
    monkeypatch.setenv("PERFORM_MONGO_DATABASE", f"perform-{uuid4().hex}")
    monkeypatch.setenv("PERFORM_BLOB_URL", (tmp_path / "blobs").as_uri())
    monkeypatch.setenv("PERFORM_SWEEP_INTERVAL_SECONDS", "0.05")
    for name, value in settings.items():
        monkeypatch.setenv(f"PERFORM_{name.upper()}", str(value))


def find_peers(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for peer in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS"):
        monkeypatch.setenv(f"PERFORM_{peer}_ADDRESS", address)


@asynccontextmanager
async def staged(monkeypatch: pytest.MonkeyPatch, peers: Peers | None = None) -> AsyncIterator[Stage]:
    """Peers and the service, in an environment that is furnished."""
    peers = peers or Peers()
    async with played(peers) as address:
        find_peers(monkeypatch, address)
        async with performing() as channel:
            yield Stage(channel, peers)


def blobs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "blobs").rglob("*.mp3"))
