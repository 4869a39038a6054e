"""What the service adds around an engine: over a real socket, with an engine that takes no time itself.

first audio   from the engine's first chunk to the first message at the caller; 50 ms are promised
hang up       from the caller's cancellation to the engine's end, and to the free seat; 100 ms are promised
refusal       from the request to SPEECH_ENGINE_BUSY when all seats are taken; 50 ms are promised

python -m bench.synthesis [--rounds 20]
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any

import grpc

from bench.mix import PERCENT, RATE, babble, usual
from bench.report import line, percentiles
from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import (
    SynthesisServiceStub,
    add_SynthesisServiceServicer_to_server,
)
from services.kernel.logs import configure
from services.kernel.server import Handlers
from services.synthesis.ambience import Ambience
from services.synthesis.domain import EnrolledVoice, Format, Utterance
from services.synthesis.mixing import Mixing
from services.synthesis.preview import Previews
from services.synthesis.rpc import SynthesisServicer
from services.synthesis.seats import Seats
from services.synthesis.usecases import Desk, Showroom

SEATS = 64
CONCURRENT = (1, 8, 32)


class Prompter:
    """Says what it was given, in chunks of half a second, and knows when it began and was stopped."""

    name, sample_rate = "prompter", RATE

    def __init__(self) -> None:
        self._chunks = [babble(8)[at : at + RATE] for at in range(0, 16 * RATE, RATE)]
        self.began: dict[str, float] = {}
        self.stopped: dict[str, asyncio.Future[float]] = {}

    async def start(self) -> None:
        """Nothing to load."""

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        return b""

    async def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        stopped = self.stopped[voice.voice_id] = asyncio.get_running_loop().create_future()
        self.began[voice.voice_id] = perf_counter()
        try:
            for chunk in self._chunks:
                yield chunk
                if utterance.text == "wait":
                    await asyncio.get_running_loop().create_future()
        finally:
            stopped.set_result(perf_counter())

    async def close(self) -> None:
        """Nothing to release."""


@asynccontextmanager
async def served(engine: Prompter, seats: Seats) -> AsyncIterator[Any]:
    ambience, handlers, server = Ambience.made(), Handlers(), grpc.aio.server()
    with ambience.lent() as loops, ThreadPoolExecutor(1) as thread:
        mixing = Mixing(0, loops)
        await mixing.start()
        showroom = Showroom(seats, thread, Previews(ambience), ambience)
        servicer = SynthesisServicer({engine.name: engine}, Desk(seats, mixing), showroom)
        add_SynthesisServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        handlers.attach_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        await server.stop(grace=None)
        await mixing.close()


def request(voice: str, text: str = "speak", name: str = "mp3") -> pb.SynthesizeRequest:
    background = pb.Background(sound="fan", volume_percent=PERCENT)
    return pb.SynthesizeRequest(
        text=text,
        language="en",
        engine="prompter",
        engine_voice_id=voice,
        background=background,
        format=name,
    )


async def first_audio(stub: Any, engine: Prompter, voice: str, name: str) -> float:
    messages = aiter(stub.Synthesize(request(voice, name=name)))
    await anext(messages)
    waited = perf_counter() - engine.began[voice]
    async for _ in messages:
        pass
    return waited


async def hang_up(stub: Any, engine: Prompter, seats: Seats, voice: str) -> tuple[float, float]:
    call = stub.Synthesize(request(voice, "wait"))
    await call.read()
    asked = perf_counter()
    call.cancel()
    stopped = await engine.stopped[voice]
    assert seats.free == SEATS, "the seat is given back before anything else runs"
    return stopped - asked, perf_counter() - asked


async def refusals(stub: Any, rounds: int) -> list[float]:
    holding = [stub.Synthesize(request(f"holds-{at}", "wait")) for at in range(SEATS)]
    for call in holding:
        await call.read()
    waits = []
    for _ in range(rounds):
        asked = perf_counter()
        with suppress(grpc.aio.AioRpcError):
            await stub.Synthesize(request("too-many", "wait")).read()
            raise AssertionError("nobody was refused")
        waits.append(perf_counter() - asked)
    for call in holding:
        call.cancel()
    return waits


async def bench(rounds: int) -> None:
    engine, seats = Prompter(), Seats(SEATS)
    async with served(engine, seats) as stub:
        await first_audio(stub, engine, "warm", "mp3")
        for name in map(usual, Format):
            waits = [await first_audio(stub, engine, f"alone-{at}", name.format) for at in range(rounds)]
            line(bench="synthesis", figure="first_audio", format=name.format, **percentiles(waits))
        for together in CONCURRENT:
            waits = []
            for turn in range(rounds):
                voices = [f"{together}-{turn}-{at}" for at in range(together)]
                waits += await asyncio.gather(*(first_audio(stub, engine, v, "mp3") for v in voices))
            line(bench="synthesis", figure="first_audio", concurrent=together, **percentiles(waits))
        ends = [await hang_up(stub, engine, seats, f"leaves-{at}") for at in range(rounds)]
        line(bench="synthesis", figure="hang_up_to_engine_end", **percentiles([end for end, _ in ends]))
        line(bench="synthesis", figure="hang_up_to_free_seat", **percentiles([free for _, free in ends]))
        line(bench="synthesis", figure="refusal", **percentiles(await refusals(stub, rounds)))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--rounds", type=int, default=20)
    configure("WARNING")
    asyncio.run(bench(asked.parse_args().rounds))


if __name__ == "__main__":
    main()
