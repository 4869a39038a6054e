"""What every engine promises, run on each of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import av
import numpy as np
import pytest

from services.synthesis.domain import (
    Delivery,
    EnrolledVoice,
    LanguageNotSpoken,
    Utterance,
    VoiceNotEnrolled,
)
from services.synthesis.engines.local import LocalEngine
from services.synthesis.engines.tone import ToneEngine, heard_hz, marker_hz
from services.synthesis.ports import Engine

DEMO = Path(__file__).parents[2] / "demo"
RATE = 24_000
NOTES = {
    "en": "Good morning. I woke up with the Queen of Hearts in my head, and I can't say why.",
    "es": "Buenos días. Me desperté pensando en la reina de corazones, y no sé por qué.",
}


@pytest.fixture(scope="module")
def sample() -> bytes:
    """The public-domain reading, as 16-bit mono PCM at RATE."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(DEMO / "two-cities.mp3")) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)


@pytest.fixture(scope="module", params=["tone", pytest.param("local", marks=pytest.mark.slow)])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    made: Engine = ToneEngine() if request.param == "tone" else LocalEngine()
    await made.start()
    yield made
    await made.close()


@pytest.fixture(scope="module")
async def voice(engine: Engine, sample: bytes) -> EnrolledVoice:
    return EnrolledVoice("v1", await engine.enrol(sample, RATE))


async def take(engine: Engine, utterance: Utterance, voice: EnrolledVoice) -> bytes:
    async with aclosing(engine.speak(utterance, voice)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def rms(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.square(np.frombuffer(pcm, "<i2") / 32768))))


@pytest.mark.parametrize("language", ["en", "es", "en-GB", "es-MX"])
async def test_audio_is_whole_audible_samples_in_both_languages(
    engine: Engine, voice: EnrolledVoice, language: str
) -> None:
    text = NOTES[language[:2]]
    async with aclosing(engine.speak(Utterance(text, language), voice)) as stream:
        chunks = [chunk async for chunk in stream]
    assert all(len(chunk) % 2 == 0 for chunk in chunks)
    assert len(chunks) > 1
    pcm = b"".join(chunks)
    assert 0.03 < rms(pcm) < 0.5
    # Between 8 and 25 characters a second, as people speak.
    assert 8 < len(text) / (len(pcm) / 2 / engine.sample_rate) < 25


async def test_the_same_words_take_the_same_time(engine: Engine, voice: EnrolledVoice) -> None:
    utterance = Utterance(NOTES["en"], "en")
    assert len(await take(engine, utterance, voice)) == len(await take(engine, utterance, voice))


async def test_speed_is_honoured(engine: Engine, voice: EnrolledVoice) -> None:
    durations = [
        len(await take(engine, Utterance(NOTES["en"], "en", Delivery(speed=speed)), voice))
        for speed in (0.8, 1.25)
    ]
    assert durations[0] / durations[1] == pytest.approx(1.25 / 0.8, rel=0.15)


async def test_the_same_sample_gives_the_same_small_profile(
    engine: Engine, voice: EnrolledVoice, sample: bytes
) -> None:
    again = await engine.enrol(sample, RATE)
    assert again == voice.profile
    assert 0 < len(again) < 1_000_000
    assert await engine.enrol(sample[: len(sample) // 4 * 2], RATE) != again


@pytest.mark.parametrize("profile", [b"", b"garbage", b"NVLP" + bytes(800), bytes(5000)])
async def test_a_profile_of_nobody_is_refused(engine: Engine, profile: bytes) -> None:
    with pytest.raises(VoiceNotEnrolled):
        await take(engine, Utterance("Hello.", "en"), EnrolledVoice("v1", profile))


@pytest.mark.parametrize("language", ["de", "xx", "", "english"])
async def test_another_language_is_refused(engine: Engine, voice: EnrolledVoice, language: str) -> None:
    with pytest.raises(LanguageNotSpoken):
        await take(engine, Utterance("Hello.", language), voice)


async def test_a_listener_may_leave_and_the_next_is_served(engine: Engine, voice: EnrolledVoice) -> None:
    async with aclosing(engine.speak(Utterance(" ".join([NOTES["en"]] * 20), "en"), voice)) as chunks:
        assert await anext(chunks)
    async with asyncio.timeout(60):
        assert await take(engine, Utterance("Hello.", "en"), voice)


async def test_several_speak_at_once(engine: Engine, voice: EnrolledVoice) -> None:
    texts = ["Hello there.", "Number seven, again.", "Good morning to you."]
    alone = [await take(engine, Utterance(text, "en"), voice) for text in texts]
    together = await asyncio.gather(*(take(engine, Utterance(text, "en"), voice) for text in texts))
    assert [len(pcm) for pcm in together] == [len(pcm) for pcm in alone]


async def test_each_tone_is_its_samples_own() -> None:
    engine = ToneEngine()
    markers = set()
    for number in range(40):
        profile = await engine.enrol(b"sample %d " % number, RATE)
        pcm = await take(engine, Utterance("Ten chars.", "en"), EnrolledVoice("v", profile))
        assert heard_hz(pcm, engine.sample_rate) == pytest.approx(marker_hz(profile), abs=1)
        markers.add(marker_hz(profile))
    assert len(markers) > 30
