"""The services that auth calls to erase and to export a user, played by objects that can be away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from newvisions.content.v1 import content_service_pb2 as content
from newvisions.content.v1 import content_service_pb2_grpc as content_grpc
from newvisions.perform.v1 import perform_service_pb2 as perform
from newvisions.perform.v1 import perform_service_pb2_grpc as perform_grpc
from newvisions.voice.v1 import voice_service_pb2 as voice
from newvisions.voice.v1 import voice_service_pb2_grpc as voice_grpc
from services.kernel.server import Handlers


class Voices(voice_grpc.VoiceServiceServicer):
    """Each user has one sample, and one upload that is still under way."""

    def __init__(self) -> None:
        self.uploading = 0
        self.erased: list[str] = []

    async def EraseUser(self, request: voice.EraseUserRequest, context: Any) -> voice.EraseUserResponse:
        self.erased.append(request.user_id)
        if self.uploading:
            self.uploading -= 1
            return voice.EraseUserResponse(done=False)
        first = self.erased.count(request.user_id) == 1
        return voice.EraseUserResponse(erased={"samples": int(first)}, done=True)

    async def ExportUser(self, request: voice.ExportUserRequest, context: Any) -> voice.ExportUserResponse:
        sample = voice.VoiceSample(hash="5a" * 32, duration_seconds=31.5, consent="I agree.")
        return voice.ExportUserResponse(state="ready", voice_clone_id="clone-1", sample=sample)


class Performances(perform_grpc.PerformServiceServicer):
    """A call erases or shows one page of what a user has."""

    def __init__(self) -> None:
        self.pages: dict[str, int] = {}

    async def EraseUser(self, request: perform.EraseUserRequest, context: Any) -> perform.EraseUserResponse:
        left = self.pages.get(request.user_id, 0)
        self.pages[request.user_id] = max(0, left - 1)
        return perform.EraseUserResponse(erased={"recordings": 100 if left else 0}, done=left <= 1)

    async def ExportUser(
        self, request: perform.ExportUserRequest, context: Any
    ) -> perform.ExportUserResponse:
        page = int(request.page_token or 0)
        last = page + 1 >= self.pages.get(request.user_id, 0)
        found = perform.ExportedRecording(id=f"recording-{page}", text="A note.", title="New Recording")
        return perform.ExportUserResponse(recordings=[found], next_page_token="" if last else str(page + 1))


class Notes(content_grpc.ContentServiceServicer):
    async def EraseUser(self, request: content.EraseUserRequest, context: Any) -> content.EraseUserResponse:
        return content.EraseUserResponse(erased={"recent_notes": 3}, done=True)


@dataclass
class Elsewhere:
    voices: Voices = field(default_factory=Voices)
    performances: Performances = field(default_factory=Performances)
    notes: Notes = field(default_factory=Notes)
    addresses: dict[str, str] = field(default_factory=dict)
    running: dict[str, Any] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        """On the same port as before, if there was a before."""
        handlers = Handlers()
        add, servicer = {
            "voice": (voice_grpc.add_VoiceServiceServicer_to_server, self.voices),
            "perform": (perform_grpc.add_PerformServiceServicer_to_server, self.performances),
            "content": (content_grpc.add_ContentServiceServicer_to_server, self.notes),
        }[name]
        add(servicer, handlers)  # type: ignore[operator]
        server = grpc.aio.server()
        handlers.attach_to(server)
        port = server.add_insecure_port(self.addresses.get(name, "127.0.0.1:0"))
        await server.start()
        self.addresses[name], self.running[name] = f"127.0.0.1:{port}", server

    async def stop(self, name: str) -> None:
        await self.running.pop(name).stop(None)

    @property
    def environment(self) -> dict[str, str]:
        return {f"AUTH_{name.upper()}_ADDRESS": address for name, address in self.addresses.items()}


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    played = Elsewhere()
    for name in ("voice", "perform", "content"):
        await played.start(name)
    try:
        yield played
    finally:
        for name in tuple(played.running):
            await played.stop(name)
