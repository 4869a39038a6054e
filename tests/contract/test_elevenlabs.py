"""What we ask of ElevenLabs for clones and for speech, against a provider that can misbehave in every way."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import stamina
from pydantic import HttpUrl
from structlog.testing import capture_logs

from dev.ports import free_port
from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.kernel.errors import ServiceError
from services.synthesis.domain import (
    Delivery,
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    SpeechFailed,
    Utterance,
    VoiceNotEnrolled,
)
from services.synthesis.engines.elevenlabs import (
    ElevenLabsEngine,
    ElevenLabsSettings,
    ProviderClosedToUs,
    VoicesMadeElsewhere,
)
from services.synthesis.engines.tone import heard_hz
from services.synthesis.ports import Engine
from services.voice.ports import (
    CloneOutcomeUnknown,
    DiscardOutcomeUnknown,
    NormalisedSample,
    Places,
    Provider,
    ProviderAddsSpent,
    ProviderBusy,
    ProviderPlacesTaken,
    ProviderRefusedUs,
    ProviderUnavailable,
    ProviderVoiceMissing,
)
from services.voice.providers.elevenlabs import ElevenLabsProvider, open_elevenlabs

KEY = "a-key-of-ours"
NOTE = "Good morning. I woke up with the Queen of Hearts in my head, and I can't say why."
SAMPLE = NormalisedSample("hash", b"\0\0" * 100, 24_000, b"an mp3 of speech", 42.0, True)
# Only where an answer never comes: anything else may take its time on a busy machine.
IMPATIENT = 0.5
CREATOR = {"slots": 30, "adds": 95, "characters": 100_000, "concurrent": 5, "concurrent_fast": 10}


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


async def clone(provider: Provider, user_id: str = "u1", attempt_id: str = "a1") -> str:
    return (await provider.clone(SAMPLE, user_id, attempt_id)).engine_voice_id


# --- clones


async def test_a_clone_is_made_of_the_sample_and_carries_both_ids(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    voice_id = await clone(provider, "u7", "a7")
    (voice,) = (await simulator.audit())["voices"]
    assert voice["voice_id"] == voice_id
    assert voice["files"] == [hashlib.sha256(SAMPLE.mp3).hexdigest()]
    (held,) = await provider.held()
    assert (held.engine_voice_id, held.user_id, held.attempt_id) == (voice_id, "u7", "a7")
    assert held.made_at


async def test_a_list_is_whole_whatever_the_pages_or_it_is_an_error(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    await simulator.reset(slots=150, adds=150)
    made = [await clone(provider, f"u{number}", f"a{number}") for number in range(101)]
    held = await provider.held()
    assert sorted(voice.engine_voice_id for voice in held) == sorted(made)
    assert (await simulator.audit())["requests"]["list"] == 2
    # The first page comes; the second never does.
    await simulator.ask_for("list", Fault.SLOW_BODY, *[Fault.FAILED_BEFORE] * 3)
    with pytest.raises(ProviderUnavailable):
        await provider.held()
    assert (await simulator.audit())["requests"]["list"] == 6


async def test_the_vendors_own_voices_are_not_listed(provider: ElevenLabsProvider) -> None:
    assert await provider.held() == []


async def test_a_voice_takes_its_own_id_as_its_name(provider: ElevenLabsProvider) -> None:
    voice_id = await clone(provider)
    await provider.rename(voice_id, voice_id)
    (held,) = await provider.held()
    assert (held.name, held.user_id, held.attempt_id) == (voice_id, "u1", "a1")


async def test_a_discarded_voice_is_gone_and_may_be_discarded_again(provider: ElevenLabsProvider) -> None:
    voice_id = await clone(provider)
    await provider.discard(voice_id)
    await provider.discard(voice_id)
    await provider.discard("not/an id")
    assert await provider.held() == []


async def test_the_allowance_is_the_subscriptions(provider: ElevenLabsProvider) -> None:
    await clone(provider)
    allowance = await provider.allowance()
    assert (allowance.places, allowance.places_taken) == (30, 1)
    assert (allowance.adds, allowance.adds_spent) == (95, 1)
    assert allowance.renewed_at


async def test_each_limit_has_an_error_of_its_own(provider: ElevenLabsProvider, simulator: Simulator) -> None:
    await simulator.reset(slots=1, adds=2)
    voice_id = await clone(provider)
    with pytest.raises(ProviderPlacesTaken):
        await clone(provider)
    await provider.discard(voice_id)
    await clone(provider)
    with pytest.raises(ProviderAddsSpent):
        await provider.rename((await provider.held())[0].engine_voice_id, "x")
    await provider.discard((await provider.held())[0].engine_voice_id)
    with pytest.raises(ProviderAddsSpent):
        await clone(provider)
    with pytest.raises(ProviderVoiceMissing):
        await provider.rename(voice_id, "x")


UNKNOWN = [Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.FAILED_BEFORE, Fault.FAILED_AFTER, Fault.DROPPED]


@pytest.mark.parametrize("fault", [*UNKNOWN, Fault.GARBAGE])
async def test_a_clone_whose_answer_is_lost_is_unknown_and_never_asked_for_twice(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    await simulator.ask_for("add", fault)
    with pytest.raises(CloneOutcomeUnknown):
        await clone(provider, attempt_id="lost")
    audit = await simulator.audit()
    assert audit["requests"]["add"] == 1
    # Where it was made after all, its label tells.
    found = [voice.attempt_id for voice in await provider.held()]
    assert found == (["lost"] if audit["adds"] else [])


@pytest.mark.parametrize("fault", [Fault.CONCURRENT, Fault.BUSY])
async def test_a_busy_provider_is_not_asked_for_the_clone_again(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    await simulator.ask_for("add", fault)
    with pytest.raises(ProviderBusy):
        await clone(provider)
    audit = await simulator.audit()
    assert (audit["requests"]["add"], audit["adds"]) == (1, 0)


async def test_a_slow_answer_is_still_an_answer(provider: ElevenLabsProvider, simulator: Simulator) -> None:
    await simulator.ask_for("add", Fault.SLOW_BODY)
    assert await clone(provider)


RETRIED = [Fault.CONCURRENT, Fault.BUSY, *UNKNOWN, Fault.GARBAGE]


@pytest.mark.parametrize("fault", RETRIED)
async def test_a_discard_is_asked_for_until_it_is_done(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    voice_id = await clone(provider)
    await simulator.ask_for("delete", fault)
    await provider.discard(voice_id)
    audit = await simulator.audit()
    assert (audit["voices_now"], audit["deletes"], audit["requests"]["delete"]) == (0, 1, 2)


async def test_a_discard_that_is_never_answered_is_unknown(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    voice_id = await clone(provider)
    await simulator.ask_for("delete", Fault.TIMEOUT_BEFORE, Fault.BUSY, Fault.BUSY)
    with pytest.raises(DiscardOutcomeUnknown):
        await provider.discard(voice_id)
    await simulator.ask_for("delete", Fault.BUSY, Fault.BUSY, Fault.BUSY)
    with pytest.raises(ProviderBusy):
        await provider.discard(voice_id)
    assert (await simulator.audit())["requests"]["delete"] == 6


async def test_a_silent_provider_is_given_up_on_in_time(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(hang_seconds=60.0)
    voice_id = await clone(provider)
    await simulator.ask_for("add", Fault.TIMEOUT_AFTER)
    await simulator.ask_for("delete", *[Fault.TIMEOUT_BEFORE] * 3)
    short: dict[str, Any] = {"seconds": IMPATIENT, "clone_seconds": IMPATIENT}
    async with asyncio.timeout(20), open_elevenlabs(simulator.url, key_file, **short) as impatient:
        with pytest.raises(CloneOutcomeUnknown):
            await clone(impatient)
        with pytest.raises(DiscardOutcomeUnknown):
            await impatient.discard(voice_id)


@pytest.mark.parametrize("fault", RETRIED)
async def test_reading_is_tried_again(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    await simulator.ask_for("list", fault)
    await simulator.ask_for("subscription", fault)
    assert await provider.held() == []
    assert (await provider.allowance()).places == 30


@pytest.mark.parametrize("fault", [Fault.FAILED_AFTER, Fault.DROPPED, Fault.GARBAGE])
async def test_a_rename_is_asked_for_once_because_each_may_cost(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    voice_id = await clone(provider)
    await simulator.ask_for("edit", fault)
    with pytest.raises(ProviderUnavailable):
        await provider.rename(voice_id, voice_id)
    assert (await simulator.audit())["requests"]["edit"] == 1


async def test_a_provider_that_is_not_there_has_done_nothing(key_file: Path) -> None:
    async with open_elevenlabs(f"http://127.0.0.1:{free_port()}", key_file) as provider:
        for call in (clone(provider), provider.discard("abc"), provider.held(), provider.allowance()):
            with pytest.raises(ProviderUnavailable):
                await call


async def test_a_refused_key_is_for_an_operator_and_never_logged(
    simulator: Simulator, provider: ElevenLabsProvider
) -> None:
    await simulator.reset(key="another")
    with capture_logs() as logs, pytest.raises(ProviderRefusedUs):
        await clone(provider)
    assert [event["status"] for event in logs if event["log_level"] == "error"] == ["invalid_api_key"]
    assert KEY not in str(logs)


@pytest.mark.parametrize("content", [None, "", " \n", "two\nlines", "schlüssel"])
async def test_a_file_without_a_key_is_named_and_not_shown(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=str(file)) as failure:
        async with open_elevenlabs("http://127.0.0.1:1", file):
            pass
    assert not (content or "").strip() or str(content) not in str(failure.value)
    with pytest.raises(ValueError, match=str(file)):
        ElevenLabsEngine(settings("http://127.0.0.1:1", file))


async def test_whatever_a_seed_brings_adds_are_told_apart(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    """Every clone that was made is one that we know of or one that we know we may not know of."""
    await simulator.reset(seed=11, fault_share=0.5, slots=100)
    known, unknown = set(), set()
    for number in range(40):
        attempt_id = f"a{number}"
        try:
            await clone(provider, attempt_id=attempt_id)
            known.add(attempt_id)
        except CloneOutcomeUnknown:
            unknown.add(attempt_id)
        except ServiceError:
            pass
    there = {voice["labels"]["newvisions_attempt"] for voice in (await simulator.audit())["voices"]}
    assert known <= there <= known | unknown
    assert known
    assert there - known
    assert unknown - there


async def test_what_a_clone_is_of_is_told(provider: ElevenLabsProvider) -> None:
    cloning: Provider = provider
    places: Places = provider
    assert (cloning.name, cloning.engine) == ("elevenlabs", ElevenLabsEngine.name)
    assert (cloning.voice_source, cloning.pooled) == ("provider_voice_id", True)
    assert (await places.allowance()).places_taken == 0


# --- speech


def settings(url: str, key_file: Path, **changes: Any) -> ElevenLabsSettings:
    return ElevenLabsSettings(base_url=HttpUrl(url), api_key_file=key_file, **changes)


@pytest.fixture(scope="module")
async def engine(server: Simulator, key_file: Path) -> AsyncIterator[Engine]:
    made = ElevenLabsEngine(settings(server.url, key_file))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def voice(provider: ElevenLabsProvider, simulator: Simulator) -> EnrolledVoice:
    return EnrolledVoice(await clone(provider))


async def take(engine: Engine, utterance: Utterance, voice: EnrolledVoice) -> bytes:
    async with aclosing(engine.speak(utterance, voice)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def say(engine: Engine, voice: EnrolledVoice, text: str = NOTE) -> bytes:
    return await take(engine, Utterance(text, "en"), voice)


@pytest.mark.parametrize("language", ["en", "es", "en-GB", "zh-Hant-TW"])
async def test_audio_is_whole_samples_as_they_arrive(
    engine: Engine, voice: EnrolledVoice, language: str
) -> None:
    async with aclosing(engine.speak(Utterance(NOTE, language), voice)) as stream:
        chunks = [chunk async for chunk in stream]
    assert all(chunk and len(chunk) % 2 == 0 for chunk in chunks)
    assert len(chunks) > 1
    assert 8 < len(NOTE) / (sum(map(len, chunks)) / 2 / engine.sample_rate) < 25


async def test_each_speaks_in_their_own_voice(
    engine: Engine, provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    voices = [await clone(provider, f"u{number}", f"a{number}") for number in range(4)]
    tones = {voice["voice_id"]: voice["marker_hz"] for voice in (await simulator.audit())["voices"]}
    spoken = await asyncio.gather(*(say(engine, EnrolledVoice(voice_id)) for voice_id in voices))
    heard = [heard_hz(pcm, engine.sample_rate) for pcm in spoken]
    assert heard == pytest.approx([tones[voice_id] for voice_id in voices], abs=1)


async def test_speed_is_honoured_as_far_as_the_provider_goes(engine: Engine, voice: EnrolledVoice) -> None:
    lengths = [
        len(await take(engine, Utterance(NOTE, "en", Delivery(speed=speed)), voice))
        for speed in (0.5, 0.7, 1.2, 2.0)
    ]
    assert lengths[0] == lengths[1]
    assert lengths[2] == lengths[3]
    assert lengths[1] / lengths[2] == pytest.approx(1.2 / 0.7, rel=0.02)


async def test_the_first_chunk_goes_on_before_the_last_is_made(
    engine: Engine, voice: EnrolledVoice, simulator: Simulator
) -> None:
    async with aclosing(engine.speak(Utterance(NOTE * 40, "en"), voice)) as chunks:
        assert await anext(chunks)
        assert (await simulator.audit())["speaking_now"] == 1


async def test_a_listener_who_leaves_frees_the_seat_at_the_provider(
    engine: Engine, provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    await simulator.reset(concurrent_fast=1)
    voice = EnrolledVoice(await clone(provider))
    async with aclosing(engine.speak(Utterance(NOTE * 40, "en"), voice)) as chunks:
        assert await anext(chunks)
        with pytest.raises(EngineOverloaded):
            await say(engine, voice)
    async with asyncio.timeout(5):
        while (await simulator.audit())["speaking_now"]:
            pass
    assert await say(engine, voice)


@pytest.mark.parametrize("language", ["xx", "", "english"])
async def test_another_language_is_refused(engine: Engine, voice: EnrolledVoice, language: str) -> None:
    with pytest.raises(LanguageNotSpoken):
        await take(engine, Utterance("Hello.", language), voice)


@pytest.mark.parametrize("voice_id", ["", "../voices", "nobody", "schlüssel"])
async def test_a_voice_of_nobody_is_refused(engine: Engine, voice_id: str) -> None:
    with pytest.raises(VoiceNotEnrolled):
        await say(engine, EnrolledVoice(voice_id))


async def test_voices_are_not_learned_here(engine: Engine) -> None:
    with pytest.raises(VoicesMadeElsewhere):
        await engine.enrol(b"\0\0" * 24_000, 24_000)


@pytest.mark.parametrize(
    "failure",
    [
        # Our own seats: whoever waits for one does so elsewhere.
        ([Fault.CONCURRENT], EngineOverloaded, 1),
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
    await simulator.ask_for("speak", Fault.BUSY, Fault.BUSY)
    assert await say(engine, voice)
    assert (await simulator.audit())["requests"]["speak"] == 3


async def test_a_silent_speaker_is_given_up_on_in_time(
    voice: EnrolledVoice, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(hang_seconds=60.0)
    await simulator.ask_for("speak", Fault.TIMEOUT_BEFORE)
    engine = ElevenLabsEngine(settings(simulator.url, key_file, silence_seconds=IMPATIENT))
    async with asyncio.timeout(20):
        with pytest.raises(EngineUnavailable):
            await say(engine, voice)
    await engine.close()


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
    with pytest.raises(ProviderClosedToUs) as spent:
        await say(engine, voice)
    assert spent.value.retry_after_seconds == 0
    old = ElevenLabsEngine(settings(simulator.url, key_file, model="eleven_v3"))
    with pytest.raises(SpeechFailed):
        await say(old, voice, "x" * 3001)
    await old.close()
    await simulator.reset(key="another")
    with capture_logs() as logs, pytest.raises(ProviderClosedToUs):
        await say(engine, voice)
    assert logs[-1]["event"] == "speech_provider_refused_us"
    assert KEY not in str(logs)
    assert NOTE not in str(logs)


async def test_an_engine_starts_also_without_its_provider(key_file: Path) -> None:
    engine = ElevenLabsEngine(settings(f"http://127.0.0.1:{free_port()}", key_file))
    with capture_logs() as logs:
        await engine.start()
    assert [event["event"] for event in logs] == ["speech_provider_absent_at_start"]
    with pytest.raises(EngineUnavailable):
        await say(engine, EnrolledVoice("abc"))
    await engine.close()


async def test_the_environment_switches_it_on(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator, key_file: Path, voice: EnrolledVoice
) -> None:
    monkeypatch.setenv("SYNTHESIS_ELEVENLABS_API_KEY_FILE", str(key_file))
    monkeypatch.setenv("SYNTHESIS_ELEVENLABS_BASE_URL", simulator.url)
    monkeypatch.setenv("SYNTHESIS_ELEVENLABS_MODEL", "eleven_multilingual_v2")
    engine = ElevenLabsEngine()
    assert await say(engine, voice)
    await engine.close()
    effects = (await simulator.audit())["effects"]
    assert effects[-1]["model"] == "eleven_multilingual_v2"
