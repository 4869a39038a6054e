"""A real synthesis service on a real socket, with engines that do as they are told."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import av
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import (
    SynthesisServiceStub,
    add_SynthesisServiceServicer_to_server,
)
from services.kernel.server import Handlers
from services.kernel.statuses import api_error
from services.synthesis.ambience import Ambience
from services.synthesis.mixing import Mixing
from services.synthesis.preview import Previews
from services.synthesis.rpc import SynthesisServicer
from services.synthesis.seats import Seats
from services.synthesis.usecases import Showroom

SECOND = (np.sin(np.arange(24_000) / 20) * 4000).astype("<i2").tobytes()


class ScriptedEngine:
    """Says the chunks it was given; an exception among them is raised, an event is waited for."""

    sample_rate = 24_000

    def __init__(self, name, *script):
        self.name = name
        self.script = script
        self.closed = asyncio.Event()
        self.speaking = asyncio.Event()
        self.utterances = []

    async def start(self):
        """Nothing to load."""

    async def enrol(self, pcm, sample_rate):
        return b"profile"

    async def speak(self, utterance, voice):
        self.utterances.append(utterance)
        self.speaking.set()
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.closed.set()

    async def close(self):
        """Nothing to release."""


@asynccontextmanager
async def mixing_for(
    ambience: Ambience, processes: int = 1, look_seconds: float = 1, watermark: str = ""
) -> AsyncIterator[Mixing]:
    with ambience.lent() as loops:
        mixing = Mixing(processes, loops, watermark, look_seconds)
        await mixing.start()
        yield mixing
        await mixing.close()


@contextmanager
def showroom_for(ambience: Ambience, seats: int = 1) -> Iterator[Showroom]:
    with ThreadPoolExecutor(1) as thread:
        yield Showroom(Seats(seats), thread, Previews(ambience), ambience)


@asynccontextmanager
async def listening(engines, desk, showroom) -> AsyncIterator[str]:
    """The address of a service that says it is healthy."""
    handlers, server, checks = Handlers(), grpc.aio.server(), health.aio.HealthServicer()
    add_SynthesisServiceServicer_to_server(SynthesisServicer(engines, desk, showroom), handlers)
    handlers.attach_to(server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", "synthesis"):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield address
    await server.stop(grace=None)


@asynccontextmanager
async def served(engines, desk, showroom) -> AsyncIterator[SynthesisServiceStub]:
    async with (
        listening(engines, desk, showroom) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield SynthesisServiceStub(channel)


async def profile(speech, sample=SECOND):
    reply = await speech.EnrolVoice(pb.EnrolVoiceRequest(engine="tone", pcm=sample, sample_rate=24_000))
    return reply.profile


def request(**changes):
    fields = {
        "text": "I woke up thinking of the sea.",
        "language": "en",
        "engine": "tone",
        "recording_id": "rec-1",
    }
    return pb.SynthesizeRequest(**(fields | changes))


async def spoken(speech, **changes):
    """The whole audio, the summary, and the messages they came in."""
    messages = [message async for message in speech.Synthesize(request(**changes), timeout=20)]
    return b"".join(message.audio for message in messages), messages[-1].summary, messages


def opening(**changes):
    return pb.SynthesizeAsWrittenRequest(opening=request(**changes))


async def spoken_as_written(speech, first, *more, **changes):
    """The same for a text that comes in pieces."""

    async def written():
        yield opening(text=first, **changes)
        for text in more:
            yield pb.SynthesizeAsWrittenRequest(text=text)

    messages = [message async for message in speech.SynthesizeAsWritten(written(), timeout=20)]
    return b"".join(message.audio for message in messages), messages[-1].summary, messages


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error, _ = api_error(failure.value)
    assert error is not None
    return (error.error, error.http_status)


def heard(audio):
    with av.open(io.BytesIO(audio)) as opened:
        frames = [frame.to_ndarray()[0] for frame in opened.decode(audio=0)]
        return np.concatenate(frames), {**opened.metadata, **opened.streams.audio[0].metadata}
