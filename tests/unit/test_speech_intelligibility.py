"""Listen to the engine: are the words understood, and is the voice nearer to the sample's?"""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from bench.listening import Listener, listening, word_error_rate
from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.speaker import likeness
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats
from services.synthesis.engines.local.voice import Line, VoiceBox

pytestmark = pytest.mark.slow

SENTENCES = (
    "I woke up this morning with the queen of hearts in my head.",
    "I keep thinking about an old friend from the coast, someone called Veronica.",
    "Strange night, I dreamt about a long black train and a very small garden.",
)
SAMPLE = Path(__file__).parents[2] / "demo" / "two-cities.mp3"


@pytest.fixture(scope="module")
def box() -> VoiceBox:
    return VoiceBox(threads=2)


@pytest.fixture(scope="module")
def reading() -> Floats:
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(SAMPLE)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    joined = np.concatenate([part.to_ndarray().ravel() for part in parts])
    return np.asarray(joined / 32768, dtype=np.float32)


@pytest.fixture(scope="module")
def profile(box: VoiceBox, reading: Floats) -> bytes:
    """From the first half of the reading; the second half judges."""
    half = reading[: len(reading) // 2]
    return box.enrol((half * 32767).astype("<i2").tobytes(), SAMPLE_RATE)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with listening() as recogniser:
        assert recogniser
        yield recogniser


def spoken(box: VoiceBox, profile: bytes, text: str) -> Floats:
    pcm = box.speak(profile, Line(text, "en"))
    return np.asarray(np.frombuffer(pcm, "<i2") / 32768, dtype=np.float32)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_machine_understands_the_words(
    box: VoiceBox, profile: bytes, listener: Listener, sentence: str
) -> None:
    heard = listener.heard(spoken(box, profile, sentence))
    assert word_error_rate(sentence, heard) <= 0.25, heard


def test_the_voice_is_nearer_to_the_sample_than_the_models_own(
    box: VoiceBox, profile: bytes, reading: Floats
) -> None:
    text = " ".join(SENTENCES)
    person = box.embed(reading[len(reading) // 2 :])
    phonemes = phonemes_of(text, "en")
    own = box.speak_as_model(phonemes, "am_michael")
    adapted = spoken(box, profile, text)
    assert likeness(box.embed(adapted), person) > likeness(box.embed(own), person) + 0.05
