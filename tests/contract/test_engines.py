"""What every engine promises, run on each of them, also on the one that the documentation shows."""

import asyncio
import multiprocessing
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from services.kernel.errors import Kind, ServiceError
from services.synthesis.domain import (
    Delivery,
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    Utterance,
    VoiceNotEnrolled,
)
from services.synthesis.engines.tone import ToneEngine, heard_hz, marker_hz
from services.synthesis.ports import Engine, SpeaksAsWritten
from tests.contract.engine_stages import BRIEF, NOTES, RATE, ROOM, Stage, sample, stage
from tests.contract.pocket_model import INSTALLED, REASON


@pytest.fixture(
    scope="module",
    params=[
        "tone",
        "elevenlabs",
        "example",
        pytest.param("pocket", marks=pytest.mark.skipif(not INSTALLED, reason=REASON)),
        pytest.param("local", marks=pytest.mark.slow),
    ],
)
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with stage(request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
async def note(on: Stage) -> list[bytes]:
    """Chunks of the English note, spoken once for all that compare with it."""
    return await chunks_of(on.engine, Utterance(NOTES["en"], "en"), on.voice)


def only(on: Stage, promise: str) -> None:
    if promise not in on.promises:
        pytest.skip(f"{on.engine.name} does not promise this")


async def chunks_of(engine: Engine, utterance: Utterance, voice: EnrolledVoice) -> list[bytes]:
    async with aclosing(engine.speak(utterance, voice)) as chunks:
        return [chunk async for chunk in chunks]


async def take(engine: Engine, utterance: Utterance, voice: EnrolledVoice) -> bytes:
    return b"".join(await chunks_of(engine, utterance, voice))


def rms(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(np.frombuffer(pcm, "<i2") / 32768))))


async def test_audio_is_whole_samples_in_each_language_and_country(on: Stage, note: list[bytes]) -> None:
    spoken = {"en": (NOTES["en"], note)}
    for language in (*on.languages[1:], "en-GB", "es-MX"):
        text = BRIEF[language[:2]]
        spoken[language] = (text, await chunks_of(on.engine, Utterance(text, language), on.voice))
    for text, chunks in spoken.values():
        assert all(len(chunk) % 2 == 0 for chunk in chunks)
        assert len(chunks) > 1
        pcm = b"".join(chunks)
        # Between 8 and 25 characters a second, as people speak.
        assert 8 < len(text) / (len(pcm) / 2 / on.engine.sample_rate) < 25
        assert 0.03 < rms(pcm) < 0.5 if "speech" in on.promises else any(pcm)


async def test_a_text_that_is_still_being_written_is_begun_and_spoken_to_its_end(
    on: Stage, note: list[bytes]
) -> None:
    if not isinstance(on.engine, SpeaksAsWritten):
        pytest.skip(f"{on.engine.name} waits for the whole text")
    written, (first, rest) = asyncio.Event(), NOTES["en"].split(". ", 1)

    async def further() -> AsyncIterator[str]:
        await written.wait()
        yield f" {rest}"

    begun = on.engine.speak_as_written(Utterance(f"{first}.", "en"), further(), on.voice)
    async with aclosing(begun) as speech:
        heard = await anext(speech)
        written.set()
        heard += b"".join([chunk async for chunk in speech])
    assert len(heard) % 2 == 0
    assert len(heard) == pytest.approx(len(b"".join(note)), rel=0.25)


async def test_the_same_words_take_the_same_time(on: Stage, note: list[bytes]) -> None:
    again = await take(on.engine, Utterance(NOTES["en"], "en"), on.voice)
    assert len(again) == len(b"".join(note))


async def test_speed_is_honoured(on: Stage) -> None:
    only(on, "speed")
    durations = [
        len(await take(on.engine, Utterance(BRIEF["en"], "en", Delivery(speed=speed)), on.voice))
        for speed in (0.8, 1.2)
    ]
    assert durations[0] / durations[1] == pytest.approx(1.2 / 0.8, rel=0.15)


async def test_the_same_sample_gives_the_same_small_profile(on: Stage) -> None:
    only(on, "enrols")
    again = await on.engine.enrol(sample(), RATE)
    assert again == on.voice.profile
    assert 0 < len(again) < 1_000_000
    assert await on.engine.enrol(sample()[: len(sample()) // 4 * 2], RATE) != again


async def test_who_keeps_voices_elsewhere_learns_none(on: Stage) -> None:
    if "enrols" in on.promises:
        pytest.skip(f"{on.engine.name} learns voices")
    with pytest.raises(ServiceError) as refused:
        await on.engine.enrol(sample(), RATE)
    assert refused.value.kind is Kind.INVALID


@pytest.mark.parametrize("profile", [b"", b"garbage", b"NVLP" + bytes(800), bytes(5000)])
async def test_a_voice_of_nobody_is_refused(on: Stage, profile: bytes) -> None:
    with pytest.raises(VoiceNotEnrolled):
        await take(on.engine, Utterance("Hello.", "en"), EnrolledVoice("no id", profile))


@pytest.mark.parametrize("language", ["xx", "", "english"])
async def test_another_language_is_refused(on: Stage, language: str) -> None:
    with pytest.raises(LanguageNotSpoken):
        await take(on.engine, Utterance("Hello.", language), on.voice)


async def test_who_leaves_stops_the_engine_and_the_next_is_served(on: Stage) -> None:
    async with asyncio.timeout(60):
        # As often as there is room: what went on speaking would leave none.
        for _ in range(ROOM + 1):
            long = Utterance(" ".join([NOTES["en"]] * 40), "en")
            async with aclosing(on.engine.speak(long, on.voice)) as chunks:
                assert await anext(chunks)
        assert await take(on.engine, Utterance("Hello.", "en"), on.voice)


async def test_several_speak_at_once(on: Stage) -> None:
    texts = ["Hello there.", "Number seven, again.", "Good morning to you."]
    alone = [await take(on.engine, Utterance(text, "en"), on.voice) for text in texts]
    together = await asyncio.gather(*(take(on.engine, Utterance(text, "en"), on.voice) for text in texts))
    assert [len(pcm) for pcm in together] == [len(pcm) for pcm in alone]


async def test_who_finds_no_room_is_told_so_and_the_others_are_heard(on: Stage) -> None:
    only(on, "crowds")
    said = Utterance("Good morning. I woke up.", "en")
    alone = len(await take(on.engine, said, on.voice))
    outcomes = await asyncio.gather(
        *(take(on.engine, said, on.voice) for _ in range(3 * ROOM)), return_exceptions=True
    )
    heard = [len(outcome) for outcome in outcomes if isinstance(outcome, bytes)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngineOverloaded)]
    assert len(heard) >= ROOM
    assert set(heard) == {alone}
    assert refused
    assert len(heard) + len(refused) == 3 * ROOM
    assert all(refusal.retry_after_seconds for refusal in refused)
    # All of the room is there again.
    assert all(await asyncio.gather(*(take(on.engine, said, on.voice) for _ in range(ROOM))))


async def test_a_closed_engine_holds_nothing_and_speaks_no_more(on: Stage) -> None:
    only(on, "closes")
    threads, children = set(threading.enumerate()), set(multiprocessing.active_children())
    engine = on.make()
    with pytest.raises(EngineUnavailable):
        await take(engine, Utterance("Hello.", "en"), on.voice)
    await engine.start()
    speech = engine.speak(Utterance(NOTES["en"], "en"), on.voice)
    assert await anext(speech)
    await speech.aclose()
    await engine.close()
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await take(engine, Utterance("Hello.", "en"), on.voice)
    # Of the pools of the event loop, which serve everybody, no thread ends.
    left = {thread for thread in set(threading.enumerate()) - threads if "asyncio" not in thread.name}
    assert not left
    assert set(multiprocessing.active_children()) <= children


async def test_each_tone_is_its_samples_own() -> None:
    engine = ToneEngine()
    markers = set()
    for number in range(40):
        profile = await engine.enrol(b"sample %d " % number, RATE)
        pcm = await take(engine, Utterance("Ten chars.", "en"), EnrolledVoice("v", profile))
        assert heard_hz(pcm, engine.sample_rate) == pytest.approx(marker_hz(profile), abs=1)
        markers.add(marker_hz(profile))
    assert len(markers) > 30
