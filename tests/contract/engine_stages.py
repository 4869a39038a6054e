"""Each engine with what it needs to speak, and what it promises beyond the port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import av

from dev.simulator.options import Options
from dev.simulator.serving import running
from services.synthesis.domain import EnrolledVoice
from services.synthesis.engines.elevenlabs import ElevenLabsSettings
from services.synthesis.engines.elevenlabs.engine import ElevenLabsEngine
from services.synthesis.engines.local import LocalEngine
from services.synthesis.engines.tone import ToneEngine
from services.synthesis.ports import Engine
from services.synthesis.settings import GateSettings
from services.voice.ports import NormalisedSample
from services.voice.providers.elevenlabs import open_elevenlabs
from tests.contract import engine_example, pocket_model

RATE: Final = 24_000
NOTES: Final = {
    "en": "Good morning. I woke up with the Queen of Hearts in my head, and I can't say why.",
    "es": "Buenos días. Me desperté pensando en la reina de corazones, y no sé por qué.",
    "fr": "Bonjour. Je me suis réveillé avec la dame de cœur en tête, et je ne sais pas pourquoi.",
}
# As many clauses in fewer words: half the time.
BRIEF: Final = {
    "en": "Good morning. I woke up with the Queen of Hearts.",
    "es": "Buenos días. Me desperté pensando en la reina.",
    "fr": "Bonjour. Je me suis réveillé avec la dame de cœur.",
}
# Callers at once that each of these engines has room for, give or take; the others come in vain.
ROOM: Final = 4


@dataclass(frozen=True)
class Stage:
    engine: Engine
    voice: EnrolledVoice
    # Another engine of the same kind, not started.
    make: Callable[[], Engine]
    languages: tuple[str, ...] = ("en", "es")
    # "enrols"; honours "speed"; as loud as "speech"; "crowds": has room for so many; "closes" what it has.
    promises: frozenset[str] = frozenset({"enrols", "speed", "speech"})


@cache
def sample() -> bytes:
    """The public-domain reading, as 16-bit mono PCM at RATE."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(Path(__file__).parents[2] / "demo" / "two-cities.mp3")) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)


@asynccontextmanager
async def stage(name: str) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield await _STAGES[name](stack)


async def _enrolled(stack: AsyncExitStack, make: Callable[[], Engine]) -> tuple[Engine, EnrolledVoice]:
    engine = await _started(stack, make)
    return engine, EnrolledVoice("v1", await engine.enrol(sample(), RATE))


async def _started(stack: AsyncExitStack, make: Callable[[], Engine]) -> Engine:
    engine = make()
    stack.push_async_callback(engine.close)
    await engine.start()
    return engine


async def _tone(stack: AsyncExitStack) -> Stage:
    return Stage(*await _enrolled(stack, ToneEngine), ToneEngine)


async def _local(stack: AsyncExitStack) -> Stage:
    def make() -> Engine:
        return LocalEngine(queue_limit=ROOM)

    promises = frozenset({"enrols", "speed", "speech", "crowds", "closes"})
    return Stage(*await _enrolled(stack, make), make, promises=promises)


async def _example(stack: AsyncExitStack) -> Stage:
    make = engine_example.example().HumEngine
    promises = frozenset({"enrols", "speed", "speech", "crowds", "closes"})
    return Stage(*await _enrolled(stack, make), make, promises=promises)


async def _elevenlabs(stack: AsyncExitStack) -> Stage:
    simulator = await stack.enter_async_context(running(Options(latency=0.01)))
    key_file = Path(stack.enter_context(TemporaryDirectory())) / "key"
    key_file.write_text("a-key-of-ours")
    provider = await stack.enter_async_context(open_elevenlabs(simulator.url, key_file))
    heard = NormalisedSample("hash", b"", RATE, b"an mp3 of speech", 42.0, True)
    made = await provider.clone(heard, "u1", "a1")

    def make() -> Engine:
        settings = ElevenLabsSettings.model_validate(
            {
                "base_url": simulator.url,
                "api_key_file": key_file,
                "seats": ROOM - 1,
                "queue_limit": 1,
                "patience_seconds": 60,
            }
        )
        return ElevenLabsEngine(settings, GateSettings())

    return Stage(
        await _started(stack, make),
        EnrolledVoice(made.engine_voice_id),
        make,
        ("en", "es", "fr"),
        frozenset({"speed", "speech", "crowds", "closes"}),
    )


async def _pocket(stack: AsyncExitStack) -> Stage:
    from services.synthesis.engines.pocket import PocketEngine, PocketSettings
    from services.synthesis.engines.pocket.settings import CONFIGURATIONS

    folder = Path(stack.enter_context(TemporaryDirectory()))
    languages = {language: CONFIGURATIONS[language] for language in NOTES}
    await asyncio.to_thread(pocket_model.make, folder, languages, " ".join(NOTES.values()))

    def make() -> Engine:
        settings = {"languages": ",".join(languages), "config_dir": folder, "queue_limit": ROOM}
        return PocketEngine(PocketSettings.model_validate(settings))

    promises = frozenset({"enrols", "crowds", "closes"})
    return Stage(*await _enrolled(stack, make), make, tuple(languages), promises)


_STAGES: Final = {
    "tone": _tone,
    "local": _local,
    "elevenlabs": _elevenlabs,
    "pocket": _pocket,
    "example": _example,
}
