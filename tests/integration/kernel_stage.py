"""A servicer that does what it is told, for tests of the kernel around it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1 import synthesis_service_pb2_grpc as synthesis_grpc
from services.kernel.caller import Caller, caller
from services.kernel.errors import Kind, ServiceError

SECOND = bytes(32_000)
SECRET = "the database password"


class EngineBusy(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"
    action = "Wait a little."
    retry_after_seconds = 7


class Actor(synthesis_grpc.SynthesisServiceServicer):
    """Does what the text says."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: list[Caller] = []
        self.remaining: float | None = None

    async def EnrolVoice(self, request: pb.EnrolVoiceRequest, context: Any) -> pb.EnrolVoiceResponse:
        self.seen.append(caller())
        self.remaining = context.time_remaining()
        await self._act(request.engine)
        return pb.EnrolVoiceResponse(profile=request.pcm)

    async def Synthesize(
        self, request: pb.SynthesizeRequest, context: Any
    ) -> AsyncIterator[pb.SynthesizeResponse]:
        first, _, then = request.text.partition(" then ")
        await self._act(first)
        for audio in (b"one", b"two"):
            try:
                yield pb.SynthesizeResponse(audio=audio)
            except (GeneratorExit, asyncio.CancelledError):
                self.cancelled.set()
                raise
        await self._act(then)

    async def SynthesizeAsWritten(
        self, requests: AsyncIterator[pb.SynthesizeAsWrittenRequest], context: Any
    ) -> AsyncIterator[pb.SynthesizeAsWrittenResponse]:
        try:
            async for request in requests:
                await self._act(request.text)
                yield pb.SynthesizeAsWrittenResponse(audio=request.text.encode())
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.set()
            raise

    async def _act(self, what: str) -> None:
        if what == "busy":
            raise EngineBusy("Too many people are speaking.")
        if what == "crash":
            raise RuntimeError(SECRET)
        if what == "wait":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


def enrol(what: str = "answer") -> pb.EnrolVoiceRequest:
    return pb.EnrolVoiceRequest(engine=what, pcm=SECOND, sample_rate=16_000)


def speak(what: str = "answer") -> pb.SynthesizeRequest:
    return pb.SynthesizeRequest(engine="tone", language="en", text=what)


async def heard(call: Any) -> list[bytes]:
    return [message.audio async for message in call]
