"""A simulator that is as new for each test, and both sides of us."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import stamina

from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.synthesis.domain import EnrolledVoice
from services.synthesis.ports import Engine
from services.voice.providers.elevenlabs import ElevenLabsProvider, open_elevenlabs
from tests.contract.elevenlabs import CREATOR, KEY, clone, speaking


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Simulator]:
    async with running(Options(latency=0.0, key=KEY)) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
async def simulator(server: Simulator) -> Simulator:
    # Who is never answered is hung up on soon; two tests wait longer, to give up by themselves.
    await server.reset(
        **{"seed": 0, "fault_share": 0.0, "latency": 0.0, "hang_seconds": 0.02, "key": KEY},
        **{"requests_per_second": 100_000, **CREATOR},
    )
    return server


@pytest.fixture(autouse=True)
def pauses_between_attempts_take_no_time() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "elevenlabs"
    file.write_text(f"{KEY}\n")
    return file


@pytest.fixture(scope="module")
async def provider(server: Simulator, key_file: Path) -> AsyncIterator[ElevenLabsProvider]:
    async with open_elevenlabs(server.url, key_file) as provider:
        yield provider


@pytest.fixture(scope="module")
async def engine(server: Simulator, key_file: Path) -> AsyncIterator[Engine]:
    async with speaking(server.url, key_file) as engine:
        yield engine


@pytest.fixture
async def voice(provider: ElevenLabsProvider, simulator: Simulator) -> EnrolledVoice:
    return EnrolledVoice(await clone(provider))
