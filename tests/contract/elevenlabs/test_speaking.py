"""What we ask of ElevenLabs for speech."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from dev.simulator.faults import Fault
from dev.simulator.remote import Simulator
from services.synthesis.domain import (
    Delivery,
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    ProviderVoiceMissing,
    SpeechFailed,
    Utterance,
    VoiceNotEnrolled,
)
from services.synthesis.engines.elevenlabs import ElevenLabsEngine, VoicesMadeElsewhere
from services.synthesis.engines.tone import heard_hz
from services.synthesis.ports import Engine, SpeaksAsWritten
from services.voice.providers.elevenlabs import ElevenLabsProvider
from tests.contract.elevenlabs import NOTE, clone, in_pieces, say, speaking, take


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


class Listener:
    """Answers whatever it is asked with two samples, or with none for what it leaves out, and keeps what it
    was asked."""

    url = ""
    asked = b""
    left_out = ""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        self.asked = await reader.readexactly(int(length[1]) if length else 0)
        text = json.loads(self.asked)["text"] if self.asked else ""
        self.texts.append(text)
        pcm = b"" if text == self.left_out else b"1234"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: %d\r\n" % len(pcm))
        writer.write(b"connection: close\r\n\r\n" + pcm)
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.answer, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield listener


async def test_every_setting_of_the_voice_is_sent(listener: Listener, key_file: Path) -> None:
    delivery = Delivery(stability=0.31, similarity=0.0, style=1.0, speed=0.9)
    async with speaking(listener.url, key_file) as engine:
        assert await take(engine, Utterance("Hello.", "en-GB", delivery), EnrolledVoice("abc")) == b"1234"
    assert json.loads(listener.asked) == {
        "text": "Hello.",
        "model_id": "eleven_flash_v2_5",
        "language_code": "en",
        "voice_settings": {
            "stability": 0.31,
            "similarity_boost": 0.0,
            "style": 1.0,
            "use_speaker_boost": True,
            "speed": 0.9,
        },
    }


async def test_the_first_chunk_goes_on_before_the_last_is_made(
    engine: Engine, voice: EnrolledVoice, simulator: Simulator
) -> None:
    async with aclosing(engine.speak(Utterance(NOTE * 40, "en"), voice)) as chunks:
        assert await anext(chunks)
        assert (await simulator.audit())["speaking_now"] == 1


async def test_a_listener_who_leaves_frees_the_seat_at_the_provider(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(concurrent_fast=1)
    voice = EnrolledVoice(await clone(provider))
    async with speaking(simulator.url, key_file, patience_seconds=0.2) as engine:
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


@pytest.mark.parametrize("voice_id", ["", "../voices", "schlüssel"])
async def test_what_is_no_voice_id_is_refused_unasked(
    engine: Engine, simulator: Simulator, voice_id: str
) -> None:
    with pytest.raises(VoiceNotEnrolled):
        await say(engine, EnrolledVoice(voice_id))
    assert "speak" not in (await simulator.audit())["requests"]


async def test_a_voice_that_is_gone_is_told_apart_so_that_it_can_be_made_again(
    engine: Engine, provider: ElevenLabsProvider, voice: EnrolledVoice
) -> None:
    await provider.discard(voice.voice_id)
    with pytest.raises(ProviderVoiceMissing) as missing:
        await say(engine, voice)
    assert (missing.value.reason, missing.value.kind.value) == ("PROVIDER_VOICE_MISSING", 409)


async def test_voices_are_not_learned_here(engine: Engine) -> None:
    with pytest.raises(VoicesMadeElsewhere):
        await engine.enrol(b"\0\0" * 24_000, 24_000)


async def test_the_environment_switches_it_on(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator, key_file: Path, voice: EnrolledVoice
) -> None:
    monkeypatch.setenv("SYNTHESIS_ELEVENLABS_API_KEY_FILE", str(key_file))
    monkeypatch.setenv("SYNTHESIS_ELEVENLABS_BASE_URL", simulator.url)
    monkeypatch.setenv("SYNTHESIS_ELEVENLABS_MODEL", "eleven_multilingual_v2")
    engine = ElevenLabsEngine()
    await engine.start()
    assert await say(engine, voice)
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await say(engine, voice)
    effects = (await simulator.audit())["effects"]
    assert effects[-1]["model"] == "eleven_multilingual_v2"


async def test_each_piece_of_a_text_is_told_what_was_said_before(listener: Listener, key_file: Path) -> None:
    async with speaking(listener.url, key_file) as engine:
        heard = await in_pieces(engine, EnrolledVoice("abc"), "One is here.", " Two.", " Three.")
    assert heard == b"1234" * 3
    asked = json.loads(listener.asked)
    assert (asked["text"], asked["previous_text"]) == ("Three.", "One is here. Two.")


async def test_a_model_that_refuses_to_be_told_is_told_nothing(listener: Listener, key_file: Path) -> None:
    async with speaking(listener.url, key_file, model="eleven_v3") as engine:
        await in_pieces(engine, EnrolledVoice("abc"), "One is here.", " Two.")
    assert "previous_text" not in json.loads(listener.asked)


@pytest.mark.parametrize("left_out", ["One is here.", "Two."])
async def test_a_piece_that_is_answered_without_a_sound_is_a_failure(
    listener: Listener, key_file: Path, left_out: str
) -> None:
    listener.left_out = left_out
    async with speaking(listener.url, key_file) as engine:
        with pytest.raises(SpeechFailed):
            await in_pieces(engine, EnrolledVoice("abc"), "One is here.", " Two.", " Three.")


async def test_pieces_without_a_word_may_be_silent_and_blank_ones_are_not_asked_for(
    listener: Listener, key_file: Path
) -> None:
    listener.left_out = "…"
    async with speaking(listener.url, key_file) as engine:
        heard = await in_pieces(engine, EnrolledVoice("abc"), "One.", " \n", " …", " Two.")
    assert heard == b"1234" * 2
    assert listener.texts[-3:] == ["One.", "…", "Two."]
    assert json.loads(listener.asked)["previous_text"] == "One. \n …"


async def test_a_text_longer_than_the_model_takes_is_spoken_in_parts(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(concurrent=1)
    voice, sentence = EnrolledVoice(await clone(provider)), "I kept thinking of you. "
    async with speaking(simulator.url, key_file, model="eleven_v3") as engine:
        whole = await in_pieces(engine, voice, sentence * 130, sentence * 130)
        one = await say(engine, voice, sentence)
    # 3120 characters twice: each a part that is full, and its rest.
    assert (await simulator.audit())["requests"]["speak"] == 5
    assert len(whole) == pytest.approx(260 * len(one), rel=0.05)


async def test_a_text_in_pieces_takes_one_seat(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(concurrent_fast=1)
    voice = EnrolledVoice(await clone(provider))
    async with speaking(simulator.url, key_file) as engine:
        assert await in_pieces(engine, voice, NOTE, f" {NOTE}")
    audit = await simulator.audit()
    assert (audit["most_speaking_fast_at_once"], audit["requests"]["speak"]) == (1, 2)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CONCURRENT, Fault.FAILED_BEFORE])
async def test_a_memo_that_is_being_heard_goes_on_when_its_next_piece_fails_once(
    engine: Engine, voice: EnrolledVoice, simulator: Simulator, fault: Fault
) -> None:
    assert isinstance(engine, SpeaksAsWritten)

    async def further() -> AsyncIterator[str]:
        await simulator.ask_for("speak", fault)
        yield f" {NOTE}"

    speech = engine.speak_as_written(Utterance(NOTE, "en"), further(), voice)
    async with aclosing(speech) as chunks:
        heard = b"".join([chunk async for chunk in chunks])
    assert len(heard) == pytest.approx(2 * len(await say(engine, voice)), rel=0.05)
