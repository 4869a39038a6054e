import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis.engines.local.kokoro import MOST_PHONEMES
from services.synthesis.engines.local.seams import SPEECH_LEVEL_DBFS, fitted, speech_level_dbfs
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats
from services.synthesis.engines.local.styles import PitchHabit
from services.synthesis.engines.local.voice import pitch_change, within_limit


def murmur(amplitude: float, silence_seconds: float = 0.3) -> Floats:
    silence = np.zeros(round(silence_seconds * SAMPLE_RATE))
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    voice = amplitude * np.sin(2 * np.pi * 150 * time) * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * time))
    return np.concatenate([silence, voice, silence]).astype(np.float32)


def heard(pcm: bytes) -> Floats:
    return np.asarray(np.frombuffer(pcm, "<i2") / 32768, dtype=np.float32)


@pytest.mark.parametrize("amplitude", [0.003, 0.05, 0.3, 0.9])
def test_every_clause_has_the_same_level(amplitude: float) -> None:
    assert speech_level_dbfs(heard(fitted(murmur(amplitude), 0))) == pytest.approx(SPEECH_LEVEL_DBFS, abs=0.5)


def test_silence_is_trimmed_and_the_pause_is_the_one_asked_for() -> None:
    short, long = (len(fitted(murmur(0.1), pause)) / 2 / SAMPLE_RATE for pause in (0.0, 0.5))
    assert short == pytest.approx(1.0, abs=0.1)
    assert long - short == pytest.approx(0.5, abs=0.001)


def test_a_clause_starts_and_ends_at_zero() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    abrupt = np.cos(2 * np.pi * 150 * time).astype(np.float32)
    samples = heard(fitted(abrupt, 0))
    assert abs(samples[0]) < 0.001
    assert abs(samples[-1]) < 0.001
    assert np.abs(np.diff(samples)).max() < 0.02


def test_peaks_stay_below_full_scale() -> None:
    spiky = murmur(0.02)
    spiky[len(spiky) // 2] = 1
    assert np.abs(heard(fitted(spiky, 0))).max() < 0.98


def test_silence_is_no_clause() -> None:
    assert fitted(np.zeros(100, np.float32), 0.2) == b""


@given(st.text("abˈ ", max_size=3000))
def test_phonemes_are_cut_to_what_the_model_can_speak(phonemes: str) -> None:
    pieces = within_limit(phonemes)
    assert all(0 < len(piece) <= MOST_PHONEMES for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(phonemes.split())


@given(st.floats(4.2, 5.6), st.floats(0.05, 0.4), st.floats(4.2, 5.6), st.floats(0.05, 0.4))
@settings(deadline=None)
def test_the_models_usual_pitch_becomes_the_speakers_within_reach(
    model_mean: float, model_spread: float, speaker_mean: float, speaker_spread: float
) -> None:
    change = pitch_change(PitchHabit(model_mean, model_spread), PitchHabit(speaker_mean, speaker_spread))
    usual = np.log(change.scale * np.exp(model_mean) ** change.range)
    reach = np.log(2) * 8 / 12
    assert usual == pytest.approx(np.clip(speaker_mean, model_mean - reach, model_mean + reach), abs=1e-6)
