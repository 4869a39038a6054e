import numpy as np
import pytest

from services.synthesis.engines.local.spectrum import (
    SAMPLE_RATE,
    Floats,
    analyse,
    bin_hz,
    resynthesise,
)
from services.synthesis.engines.local.timbre import GAIN_LIMIT_DB, envelope_gain, exemplars_of, transfer


def hum(pitch_hz: float, tilt: float, formants_hz: tuple[float, ...], seconds: float = 1.5) -> Floats:
    """Harmonics under a few resonances, with syllables and a little breath: enough of a voice to follow."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    signal = np.random.default_rng(7).normal(scale=0.002, size=len(time))
    for harmonic in range(1, int(8000 / pitch_hz)):
        hz = harmonic * pitch_hz
        resonance = sum(1 / (1 + ((hz - formant) / 120) ** 2) for formant in formants_hz) + 0.02
        signal += resonance * harmonic**-tilt * np.sin(2 * np.pi * hz * time)
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * time)
    return np.asarray(0.2 * signal * syllables / np.abs(signal).max(), dtype=np.float32)


SPEECH = hum(120, 0.6, (500, 1500, 2500))
SAMPLE = hum(180, 1.1, (650, 1100, 2900), seconds=3)
EXEMPLARS = exemplars_of(analyse(SAMPLE))


def level_db(signal: Floats) -> float:
    return float(10 * np.log10(np.mean(np.square(signal))))


def envelope_distance(one: Floats, other: Floats) -> float:
    means = [analyse(signal).cepstra[10:-10, 1:20].mean(axis=0) for signal in (one, other)]
    return float(np.linalg.norm(means[0] - means[1]))


@pytest.mark.parametrize("strength", [0.3, 0.9, 1.5])
def test_length_and_level_are_kept(strength: float) -> None:
    converted = transfer(SPEECH, EXEMPLARS, strength)
    assert len(converted) == len(SPEECH)
    assert np.isfinite(converted).all()
    assert level_db(converted) == pytest.approx(level_db(SPEECH), abs=0.1)


def test_the_timbre_moves_towards_the_sample() -> None:
    before = envelope_distance(SPEECH, SAMPLE)
    after = envelope_distance(transfer(SPEECH, EXEMPLARS, 0.9), SAMPLE)
    assert after < 0.6 * before


def test_the_pitch_stays() -> None:
    def median_pitch(signal: Floats) -> float:
        analysis = analyse(signal)
        return float(np.median(analysis.pitch_hz[analysis.voiced]))

    assert median_pitch(SPEECH) == pytest.approx(120, rel=0.02)
    assert median_pitch(transfer(SPEECH, EXEMPLARS, 0.9)) == pytest.approx(120, rel=0.02)


def test_strength_zero_changes_nothing() -> None:
    np.testing.assert_array_equal(transfer(SPEECH, EXEMPLARS, 0), SPEECH)


def test_the_shape_of_the_gain_stays_within_its_limit() -> None:
    gain_db = envelope_gain(analyse(SPEECH), EXEMPLARS, strength=50) * 10 / np.log(10)
    assert (np.ptp(gain_db, axis=1) <= 2 * GAIN_LIMIT_DB + 1e-3).all()
    assert np.ptp(gain_db, axis=1).max() > GAIN_LIMIT_DB


def test_silence_and_a_click_survive() -> None:
    assert np.isfinite(transfer(np.zeros(2400, np.float32), EXEMPLARS, 0.9)).all()
    assert len(transfer(np.ones(5, np.float32), EXEMPLARS, 0.9)) == 5
    assert len(transfer(np.zeros(0, np.float32), EXEMPLARS, 0.9)) == 0


def test_a_spectrum_that_is_left_alone_gives_the_signal_back() -> None:
    rebuilt = resynthesise(analyse(SPEECH).spectrum, len(SPEECH))
    np.testing.assert_allclose(rebuilt, SPEECH, atol=1e-4)


@pytest.mark.parametrize("pitch_hz", [80, 120, 200, 330])
def test_pitch_is_measured(pitch_hz: float) -> None:
    analysis = analyse(hum(pitch_hz, 0.8, (500, 1500)))
    assert np.median(analysis.pitch_hz[analysis.voiced]) == pytest.approx(pitch_hz, rel=0.03)


def test_bins_reach_half_the_sample_rate() -> None:
    assert bin_hz()[-1] == SAMPLE_RATE / 2
