"""The encoder that says who is speaking: what it hears must be the voice, not how loud it was recorded."""

from pathlib import Path

import av
import numpy as np
import pytest

from services.synthesis.engines.local.speaker import SpeakerEncoder, likeness
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats
from services.synthesis.engines.local.styles import KnownVoices

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parents[2] / "demo" / "two-cities.mp3"
SECONDS = 12


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder(threads=1)


@pytest.fixture(scope="module")
def reading() -> Floats:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(str(SAMPLE)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray().ravel() for part in parts])[: SECONDS * SAMPLE_RATE]


@pytest.mark.parametrize("gain_db", [-25, -10, 10])
def test_a_recording_is_the_same_voice_at_any_level(
    encoder: SpeakerEncoder, reading: Floats, gain_db: float
) -> None:
    louder = (reading * 10 ** (gain_db / 20)).astype(np.float32)
    usual, moved = (encoder.embed(signal, SAMPLE_RATE) for signal in (reading, louder))
    assert likeness(usual, moved) > 0.995
    assert KnownVoices().nearest(usual) == KnownVoices().nearest(moved)


def test_halves_of_a_reading_are_one_voice(encoder: SpeakerEncoder, reading: Floats) -> None:
    halves = np.array_split(reading, 2)
    one, other = (encoder.embed(half, SAMPLE_RATE) for half in halves)
    assert likeness(one, other) > 0.85


@pytest.mark.parametrize("samples", [0, 100, SAMPLE_RATE])
def test_silence_is_nobody_but_no_failure(encoder: SpeakerEncoder, samples: int) -> None:
    assert np.isfinite(encoder.embed(np.zeros(samples, np.float32), SAMPLE_RATE)).all()
