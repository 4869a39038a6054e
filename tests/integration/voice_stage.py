"""The whole voice service over a real socket, with a real database, cache and folder, for its tests."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pymongo import AsyncMongoClient

from newvisions.edge.v1 import edge_pb2
from newvisions.synthesis.v1 import synthesis_service_pb2 as synthesis_pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import (
    SynthesisServiceServicer,
    add_SynthesisServiceServicer_to_server,
)
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from services.kernel.client import MAX_MESSAGE_BYTES, Channels
from services.kernel.errors import Kind, ServiceError
from services.kernel.server import Handlers
from services.kernel.statuses import api_error
from services.voice.__main__ import open_service

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class EngineBusy(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"
    action = "Try again."
    retry_after_seconds = 2


class Enrolments(SynthesisServiceServicer):
    """Learns any voice at once: the profile names the sample. Refuses while `busy`."""

    def __init__(self) -> None:
        self.count = 0
        self.busy = False

    async def EnrolVoice(
        self, request: synthesis_pb.EnrolVoiceRequest, context: Any
    ) -> synthesis_pb.EnrolVoiceResponse:
        self.count += 1
        if self.busy:
            raise EngineBusy("The engine is busy.")
        return synthesis_pb.EnrolVoiceResponse(profile=profile_of(request.pcm))


def profile_of(pcm: bytes) -> bytes:
    return b"profile of " + hashlib.sha256(pcm).hexdigest().encode()


@dataclass(frozen=True)
class Stage:
    voice: VoiceServiceStub
    enrolments: Enrolments
    documents: Any
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def blobs(self) -> set[str]:
        """What the blob store holds."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@asynccontextmanager
async def open_stage(mongo_url: str, valkey_url: str, folder: Path, **changes: str) -> AsyncIterator[Stage]:
    """Everything but the engine is what runs in production."""
    key_file, blobs = folder / "voice.key", folder / "blobs"
    if not key_file.exists():
        key_file.write_bytes(base64.b64encode(os.urandom(32)))
    database, enrolments = f"voice_{uuid4().hex[:12]}", Enrolments()
    synthesis = Handlers()
    add_SynthesisServiceServicer_to_server(enrolments, synthesis)  # type: ignore[no-untyped-call]
    async with _served(synthesis) as synthesis_address, AsyncMongoClient[dict[str, Any]](mongo_url) as mongo:
        environment = {
            "VOICE_MONGO_URL": mongo_url,
            "VOICE_MONGO_DATABASE": database,
            "VOICE_VALKEY_URL": valkey_url,
            "VOICE_BLOB_URL": blobs.as_uri(),
            "VOICE_KEY_FILE": str(key_file),
            "VOICE_SYNTHESIS_ADDRESS": synthesis_address,
            "VOICE_LOCAL_ENGINE": "tone",
            **changes,
        }
        async with open_replica(environment) as voice:
            yield Stage(voice, enrolments, mongo[database]["voices"], blobs, environment)


@asynccontextmanager
async def open_replica(environment: dict[str, str]) -> AsyncIterator[VoiceServiceStub]:
    """One more process' worth of the service on the same stores."""
    async with open_channel(environment) as channel:
        yield VoiceServiceStub(channel)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def open_channel(environment: dict[str, str]) -> AsyncIterator[grpc.aio.Channel]:
    """To one more process' worth of the service."""
    handlers = Handlers()
    channels = Channels(handlers, frozenset({"voice"}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        opening = open_service(handlers, channels)
        await opening.__aenter__()
    try:
        async with (
            _served(handlers) as address,
            grpc.aio.insecure_channel(address, options=_OPTIONS) as channel,
        ):
            yield channel
    finally:
        await opening.__aexit__(None, None, None)
        await channels.close()


@asynccontextmanager
async def _served(handlers: Handlers) -> AsyncIterator[str]:
    server = grpc.aio.server(options=_OPTIONS)
    handlers.attach_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(grace=None)


def signed_in(user_id: str = "", *, roles: str = "") -> dict[str, Any]:
    """The metadata that the gateway adds for a user; a new one when none is named."""
    found = (("x-user-id", user_id or f"user-{uuid4()}"), ("x-request-id", str(uuid4())))
    return {"metadata": (*found, ("x-user-roles", roles)) if roles else found, "timeout": 60}


def user_of(caller: dict[str, Any]) -> str:
    return str(dict(caller["metadata"])["x-user-id"])


def failure_of(failure: grpc.aio.AioRpcError) -> edge_pb2.ApiError:
    error, _ = api_error(failure)
    assert error is not None, failure
    return error
