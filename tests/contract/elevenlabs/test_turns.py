"""Never more at once than the plan allows, whoever asks, and everybody is served in turn."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import httpx
import pytest

from dev.simulator.remote import Simulator
from services.kernel.caller import limit_to
from services.synthesis.domain import EngineOverloaded, EnrolledVoice, Utterance
from services.synthesis.engines.elevenlabs import ElevenLabsEngine
from services.synthesis.ports import Engine
from services.voice.providers.elevenlabs import ElevenLabsProvider
from tests.contract.elevenlabs import KEY, NOTE, clone, say, speaking
from tests.contract.gate_callers import measured, until

REPLICAS, CALLERS = 3, 30
SHORT = "The Queen of Hearts."
TOO_MANY = "too_many_concurrent_requests"


async def replicas(stack: AsyncExitStack, *where: object, **changes: object) -> list[ElevenLabsEngine]:
    return [await stack.enter_async_context(speaking(*where, **changes)) for _ in range(REPLICAS)]  # type: ignore[arg-type]


async def test_three_replicas_never_take_more_than_their_seats(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path, valkey_url: str
) -> None:
    # The provider would let more speak, so that nothing but the gate holds them back.
    await simulator.reset(latency=0.05, concurrent_fast=100)
    voice = EnrolledVoice(await clone(provider))
    async with AsyncExitStack() as stack:
        engines = await replicas(stack, simulator.url, key_file, valkey_url, seats=5, queue_limit=100)
        spoken = await asyncio.gather(
            *(say(engine, voice, SHORT) for engine in engines for _ in range(CALLERS))
        )
    assert len(set(map(len, spoken))) == 1
    audit = await simulator.audit()
    assert audit["most_speaking_fast_at_once"] == 5
    assert audit["requests"]["speak"] == REPLICAS * CALLERS
    assert audit["refusals"] == {}


async def test_the_plans_seats_are_learned_and_all_of_them_used(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path, valkey_url: str
) -> None:
    await simulator.reset(latency=0.05, concurrent_fast=9)
    voice = EnrolledVoice(await clone(provider))
    async with AsyncExitStack() as stack:
        # Another model's seats are other seats: what is known of them here is new.
        engines = await replicas(stack, simulator.url, key_file, valkey_url, queue_limit=100)
        spoken = await asyncio.gather(
            *(say(engine, voice, SHORT) for engine in engines for _ in range(CALLERS))
        )
    assert all(spoken)
    assert (await simulator.audit())["most_speaking_fast_at_once"] == 9


async def test_refused_for_want_of_seats_it_waits_for_one_of_ours(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path, valkey_url: str
) -> None:
    await simulator.reset(concurrent_fast=2)
    voice = EnrolledVoice(await clone(provider))
    url = f"{simulator.url}/v1/text-to-speech/{voice.voice_id}/stream"
    body = {"text": NOTE * 40, "model_id": "eleven_flash_v2_5"}
    async with (
        speaking(simulator.url, key_file, valkey_url, seats=2) as engine,
        httpx.AsyncClient(headers={"xi-api-key": KEY}) as http,
        # Somebody who shares our key and knows nothing of our gate.
        http.stream("POST", url, params={"output_format": "pcm_24000"}, json=body) as outsider,
    ):
        assert outsider.status_code == httpx.codes.OK
        async with aclosing(engine.speak(Utterance(NOTE * 40, "en"), voice)) as ours:
            assert await anext(ours)
            waits = asyncio.create_task(say(engine, voice))
            await until(lambda: measured(engine.name, "waiting_count") == 1)
            audit = await simulator.audit()
            assert (audit["requests"]["speak"], audit["refusals"]) == (3, {TOO_MANY: 1})
        assert await waits


async def test_beyond_the_queue_the_refusal_says_when_to_come_back(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    voice = EnrolledVoice(await clone(provider))
    async with speaking(simulator.url, key_file, seats=1, queue_limit=0) as engine:
        async with aclosing(engine.speak(Utterance(NOTE * 40, "en"), voice)) as chunks:
            assert await anext(chunks)
            with pytest.raises(EngineOverloaded) as refused:
                await say(engine, voice)
        assert refused.value.retry_after_seconds >= 1
        assert (await simulator.audit())["requests"]["speak"] == 1
        assert await say(engine, voice)


async def test_nobody_waits_longer_than_the_call_lasts(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    voice = EnrolledVoice(await clone(provider))

    async def hurried(engine: Engine) -> bytes:
        limit_to(1.1)
        return await say(engine, voice)

    async with (
        speaking(simulator.url, key_file, seats=1, patience_seconds=60) as engine,
        aclosing(engine.speak(Utterance(NOTE * 40, "en"), voice)) as chunks,
        asyncio.timeout(20),
    ):
        assert await anext(chunks)
        with pytest.raises(EngineOverloaded):
            await asyncio.create_task(hurried(engine))
