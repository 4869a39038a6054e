import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis.waveform import Waveform


def picture(samples, cuts=()):
    waveform = Waveform()
    for part in np.split(samples.astype(np.float32), sorted(cuts)):
        waveform.add(part)
    return waveform.values()


@settings(max_examples=40, deadline=None)
@given(length=st.integers(0, 400_000), loud=st.floats(0, 4))
def test_it_is_64_values_from_0_to_100_for_any_audio(length, loud):
    values = picture(np.full(length, loud))
    assert len(values) == 64
    assert all(0 <= value <= 100 for value in values)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 300_000), max_size=20))
def test_how_the_audio_was_cut_changes_nothing(cuts):
    noise = np.random.default_rng(5).standard_normal(300_000) * 0.1
    assert picture(noise, cuts) == picture(noise)


@pytest.mark.parametrize("seconds", [1, 7, 300])
def test_silence_is_0_and_each_word_stands_at_its_place(seconds):
    part = seconds * 44_100 // 4
    values = picture(np.concatenate([np.zeros(part), np.full(part, 0.2), np.zeros(part), np.full(part, 0.1)]))
    assert set(values[1:15]) == {0}
    assert set(values[17:31]) == {100}
    assert set(values[33:47]) == {0}
    assert all(60 <= value <= 70 for value in values[49:63])


def test_ten_decibels_more_is_twice_as_high():
    quiet, loud = (picture(np.full(44_100, 10 ** (db / 20)))[30] for db in (-34, -24))
    assert loud == 2 * quiet
