"""Both sides of ElevenLabs, clones and speech, against a provider that can misbehave in every way."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import HttpUrl

from services.synthesis.domain import EnrolledVoice, Utterance
from services.synthesis.engines.elevenlabs import ElevenLabsEngine, ElevenLabsSettings
from services.synthesis.ports import Engine, SpeaksAsWritten
from services.synthesis.settings import GateSettings
from services.voice.ports import NormalisedSample, Provider

KEY = "a-key-of-ours"
NOTE = "Good morning. I woke up with the Queen of Hearts in my head, and I can't say why."
SAMPLE = NormalisedSample("hash", b"\0\0" * 100, 24_000, b"an mp3 of speech", 42.0, True)
# Only where an answer never comes: anything else may take its time on a busy machine.
IMPATIENT = 0.5
CREATOR = {"slots": 30, "adds": 95, "characters": 100_000, "concurrent": 5, "concurrent_fast": 10}


async def clone(provider: Provider, user_id: str = "u1", attempt_id: str = "a1") -> str:
    return (await provider.clone(SAMPLE, user_id, attempt_id)).engine_voice_id


def settings(url: str, key_file: Path, **changes: Any) -> ElevenLabsSettings:
    patient = {"patience_seconds": 60, **changes}
    return ElevenLabsSettings(base_url=HttpUrl(url), api_key_file=key_file, **patient)


@asynccontextmanager
async def speaking(
    url: str, key_file: Path, valkey_url: str | None = None, **changes: Any
) -> AsyncIterator[ElevenLabsEngine]:
    """An engine that has started."""
    # Patient, because a machine that is busy with tests is no reason to give up.
    gate = GateSettings.model_validate({"valkey_url": valkey_url, "valkey_seconds": 20})
    engine = ElevenLabsEngine(settings(url, key_file, **changes), gate)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def take(engine: Engine, utterance: Utterance, voice: EnrolledVoice) -> bytes:
    async with aclosing(engine.speak(utterance, voice)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def say(engine: Engine, voice: EnrolledVoice, text: str = NOTE) -> bytes:
    return await take(engine, Utterance(text, "en"), voice)


async def in_pieces(engine: SpeaksAsWritten, voice: EnrolledVoice, *texts: str) -> bytes:
    async def further() -> AsyncIterator[str]:
        for text in texts[1:]:
            yield text

    speech = engine.speak_as_written(Utterance(texts[0], "en"), further(), voice)
    async with aclosing(speech) as chunks:
        return b"".join([chunk async for chunk in chunks])
