"""The background steps back while the voice speaks, and the voice does not notice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis.ambience.fan import fan_loop
from services.synthesis.duck import ATTACK_SECONDS, DUCKED_DB, HOLD_SECONDS, RELEASE_SECONDS, Ducking
from services.synthesis.mix import RATE, Backdrop, Mixer
from tests.unit.mix_hearing import PHRASE, between, dbfs, heard, made, silence, speech, tone, tone_dbfs

LOOP = fan_loop()
FAN, DUCKED = Backdrop(LOOP, 60), Backdrop(LOOP, 60, ducking=True)
# Said at its level, for a second; then a pause of a second and a half, and again.
VOICE = np.concatenate(
    [
        (0.14 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32),
        np.zeros(RATE * 3 // 2, np.float32),
        (0.14 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32),
    ]
)
WAIT = ATTACK_SECONDS + 0.05
REST = HOLD_SECONDS + RELEASE_SECONDS + 0.05


def gains(voice, cuts=()):
    ducking = Ducking(RATE)
    return np.concatenate([ducking.gains(part) for part in np.split(voice, sorted(cuts))])


def decibels(factors):
    return 20 * np.log10(factors)


def test_it_steps_back_by_9_decibels_and_returns():
    found = decibels(gains(VOICE))
    assert between(found, WAIT, 1) == pytest.approx(np.full(RATE - round(WAIT * RATE), DUCKED_DB), abs=0.01)
    assert between(found, 1 + REST, 2.5) == pytest.approx(0, abs=0.01)
    assert found[round(2.5 * RATE + WAIT * RATE)] == pytest.approx(DUCKED_DB, abs=0.01)
    assert found.min() >= DUCKED_DB - 0.001
    assert found.max() <= 0


def test_it_goes_back_slowly_and_never_in_a_step():
    slopes = np.diff(decibels(gains(VOICE))) * RATE
    assert slopes.min() >= DUCKED_DB / ATTACK_SECONDS * 1.01
    assert slopes.max() <= -DUCKED_DB / RELEASE_SECONDS * 1.01


def test_a_pause_inside_a_sentence_changes_nothing():
    pause = round(0.2 * RATE)
    spoken = np.concatenate([VOICE[:RATE], np.zeros(pause, np.float32), VOICE[:RATE]])
    during = decibels(gains(spoken))[RATE : RATE + pause]
    assert during == pytest.approx(DUCKED_DB, abs=0.01)


def test_a_murmur_is_not_a_voice():
    assert gains(VOICE * 0.02).min() == 1


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(VOICE)), max_size=30))
def test_however_the_voice_is_cut_the_gains_are_the_same(cuts):
    assert np.array_equal(gains(VOICE, cuts), gains(VOICE))


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, len(PHRASE)), max_size=30))
def test_however_the_speech_is_cut_the_memo_is_the_same_to_the_byte(cuts):
    assert made(PHRASE, DUCKED, cuts) == made(PHRASE, DUCKED)


def test_the_voice_keeps_its_level():
    pcm = speech(tone(3))
    alone, ducked = (heard(made(pcm, under)[0])[0] for under in (Backdrop(LOOP, 0), DUCKED))
    for start in (0.5, 1.5, 2.5):
        levels = [tone_dbfs(between(samples, start, start + 0.5)) for samples in (alone, ducked)]
        assert levels[0] == pytest.approx(levels[1], abs=0.5)


def test_what_is_heard_beside_the_voice_is_9_decibels_quieter():
    plain, ducked = (Mixer(backdrop).under(VOICE) - VOICE for backdrop in (FAN, DUCKED))
    speaking, resting = slice(RATE // 2, RATE), slice(round((1 + REST) * RATE), round(2.5 * RATE))
    assert dbfs(ducked[speaking]) - dbfs(plain[speaking]) == pytest.approx(DUCKED_DB, abs=0.05)
    assert dbfs(ducked[resting]) == pytest.approx(dbfs(plain[resting]), abs=0.05)


def test_in_a_memo_without_a_word_it_makes_no_difference():
    pcm = speech(silence(2))
    assert made(pcm, DUCKED)[0] == made(pcm, FAN)[0]


def test_volume_0_is_silence_all_the_same():
    assert made(PHRASE, Backdrop(LOOP, 0, ducking=True))[0] == made(PHRASE)[0]
