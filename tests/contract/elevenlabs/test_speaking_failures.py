"""What our listeners are told when ElevenLabs fails at speech."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dev.ports import free_port
from dev.simulator.faults import Fault
from dev.simulator.remote import Simulator
from services.kernel.errors import ServiceError
from services.synthesis.domain import (
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    ProviderClosedToUs,
    SpeechFailed,
    Utterance,
)
from services.synthesis.ports import Engine
from services.voice.providers.elevenlabs import ElevenLabsProvider
from tests.contract.elevenlabs import IMPATIENT, KEY, NOTE, clone, say, speaking


@pytest.mark.parametrize(
    "failure",
    [
        # None of the seats that are taken there is ours, so there is nobody to wait for.
        ([Fault.CONCURRENT] * 3, EngineOverloaded, 3),
        ([Fault.BUSY] * 3, EngineOverloaded, 3),
        ([Fault.FAILED_BEFORE], EngineUnavailable, 1),
        ([Fault.FAILED_AFTER], EngineUnavailable, 1),
        ([Fault.TIMEOUT_BEFORE], EngineUnavailable, 1),
        ([Fault.TIMEOUT_AFTER], EngineUnavailable, 1),
        ([Fault.DROPPED], EngineUnavailable, 1),
        ([Fault.GARBAGE], SpeechFailed, 1),
    ],
)
async def test_each_failure_is_told_in_our_words(
    engine: Engine,
    voice: EnrolledVoice,
    simulator: Simulator,
    failure: tuple[list[Fault], type[ServiceError], int],
) -> None:
    faults, error, requests = failure
    await simulator.ask_for("speak", *faults)
    with pytest.raises(error):
        await say(engine, voice)
    assert (await simulator.audit())["requests"]["speak"] == requests
    assert await say(engine, voice)


async def test_a_busy_provider_is_asked_again_before_anything_is_heard(
    engine: Engine, voice: EnrolledVoice, simulator: Simulator
) -> None:
    await simulator.ask_for("speak", Fault.BUSY, Fault.CONCURRENT)
    assert await say(engine, voice)
    assert (await simulator.audit())["requests"]["speak"] == 3


async def test_a_silent_speaker_is_given_up_on_in_time(
    voice: EnrolledVoice, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(hang_seconds=60.0)
    await simulator.ask_for("speak", Fault.TIMEOUT_BEFORE)
    async with asyncio.timeout(20), speaking(simulator.url, key_file, silence_seconds=IMPATIENT) as engine:
        with pytest.raises(EngineUnavailable):
            await say(engine, voice)


async def test_a_stream_that_breaks_is_an_error_after_what_was_heard(
    engine: Engine, voice: EnrolledVoice, simulator: Simulator
) -> None:
    await simulator.ask_for("speak", Fault.DROPPED)
    heard = b""
    with pytest.raises(EngineUnavailable):
        async with aclosing(engine.speak(Utterance(NOTE, "en"), voice)) as chunks:
            async for chunk in chunks:
                heard += chunk
    assert heard
    assert (await simulator.audit())["requests"]["speak"] == 1


async def test_a_slow_stream_is_heard_to_its_end(
    engine: Engine, voice: EnrolledVoice, simulator: Simulator
) -> None:
    whole = await say(engine, voice, "x")
    await simulator.ask_for("speak", Fault.SLOW_BODY)
    assert await say(engine, voice, "x") == whole


async def test_what_we_may_not_spend_is_told_apart(
    engine: Engine, provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(characters=20)
    voice = EnrolledVoice(await clone(provider))
    with capture_logs() as logs, pytest.raises(ProviderClosedToUs) as spent:
        await say(engine, voice)
    assert spent.value.retry_after_seconds == 0
    assert [(log["event"], log["log_level"], log["status"]) for log in logs] == [
        ("speech_provider_refused_us", "error", "quota_exceeded")
    ]
    await simulator.reset(key="another")
    with capture_logs() as logs, pytest.raises(ProviderClosedToUs):
        await say(engine, voice)
    assert logs[-1]["event"] == "speech_provider_refused_us"
    assert KEY not in str(logs)
    assert NOTE not in str(logs)


async def test_an_engine_starts_also_without_its_provider(key_file: Path) -> None:
    with capture_logs() as logs:
        async with speaking(f"http://127.0.0.1:{free_port()}", key_file) as engine:
            with pytest.raises(EngineUnavailable):
                await say(engine, EnrolledVoice("abc"))
    assert "speech_provider_absent_at_start" in [event["event"] for event in logs]
