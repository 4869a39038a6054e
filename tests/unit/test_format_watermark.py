"""The watermark port, kept by the real one and by one that marks nothing; and what the real one survives."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis.ambience import Ambience
from services.synthesis.domain import OFFERED_RATES, Background, Format, Medium, Sound
from services.synthesis.memo import Memo
from services.synthesis.mix import RATE
from services.synthesis.preview import Previews
from services.synthesis.watermark import FOUND_AT, RippleWatermark, strength
from tests.unit.mix_hearing import LABELS, heard, playing_rate

AMBIENCE = Ambience()
# Five seconds of a person reading.
READING, READING_RATE = Previews(AMBIENCE).reading


class NoWatermark:
    """Marks nothing, and finds nothing."""

    name = "none"

    def begin(self, sample_rate):
        return self

    def add(self, samples):
        return samples

    def finish(self):
        return np.zeros(0, np.float32)

    def found(self, samples, sample_rate):
        return False


each_watermark = pytest.mark.parametrize("watermark", [RippleWatermark(), NoWatermark()])


def noise(rate=RATE, seconds=1.3):
    return (0.1 * np.random.default_rng(3).standard_normal(round(seconds * rate))).astype(np.float32)


def marked(watermark, samples, cuts=(), rate=RATE):
    mark, edges = watermark.begin(rate), [0, *sorted(cuts), len(samples)]
    parts = [mark.add(samples[a:b]) for a, b in pairwise(edges)]
    return np.concatenate([*parts, mark.finish()])


def memo(mark, background=None, medium=None):
    medium = medium or Medium()
    backdrop = AMBIENCE.backdrop(background or Background(), medium.sample_rate)
    making = Memo(READING_RATE, LABELS, backdrop, medium, mark and mark.begin(medium.sample_rate))
    return making.add(READING) + making.finish().audio


@each_watermark
@pytest.mark.parametrize("rate", OFFERED_RATES[Format.WAV][1:])
def test_as_many_samples_come_out_as_went_in_each_at_its_time(watermark, rate):
    sound = noise(rate)
    made = marked(watermark, sound, rate=rate)
    assert len(made) == len(sound)
    assert np.corrcoef(made, sound)[0, 1] > 0.99


@each_watermark
@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, round(1.3 * RATE)), max_size=30))
def test_however_the_samples_are_cut_they_are_marked_the_same(watermark, cuts):
    assert np.array_equal(marked(watermark, noise(), cuts), marked(watermark, noise()))


@each_watermark
@pytest.mark.parametrize("samples", [0, 1, 500])
def test_it_is_no_trouble_when_there_is_next_to_nothing_to_mark(watermark, samples):
    assert len(marked(watermark, noise()[:samples])) == samples
    assert not watermark.found(noise()[:samples], RATE)


@pytest.mark.parametrize("name", Format)
@pytest.mark.parametrize("background", [Background(), Background(Sound.RAIN, 30), Background(Sound.FAN, 100)])
def test_it_is_found_in_every_format_and_over_every_background(name, background):
    medium = Medium.wanted(name, 0)
    samples, _ = heard(memo(RippleWatermark(), background, medium), medium)
    assert RippleWatermark().found(samples, playing_rate(medium))


@pytest.mark.parametrize("name", [Format.MP3, Format.OPUS, Format.AAC])
def test_it_is_found_when_the_beginning_was_cut_off(name):
    medium = Medium.wanted(name, 0)
    samples, _ = heard(memo(RippleWatermark(), medium=medium), medium)
    rate = playing_rate(medium)
    assert RippleWatermark().found(samples[round(0.777 * rate) :], rate)


@pytest.mark.parametrize("sound", Sound)
def test_it_is_not_found_where_it_is_not(sound):
    samples, _ = heard(memo(None, Background(sound, 30)))
    assert strength(samples, RATE) < FOUND_AT - 1.5


@pytest.mark.parametrize("seed", range(8))
def test_it_is_not_found_in_noise(seed):
    samples = np.random.default_rng(seed).standard_normal(6 * RATE).astype(np.float32)
    assert strength(samples, RATE) < FOUND_AT - 1.5


def test_no_band_is_changed_by_a_decibel():
    plain, changed = (heard(memo(mark))[0] for mark in (None, RippleWatermark()))
    for low in range(500, 3500, 500):
        powers = []
        for samples in (plain, changed):
            spectrum = np.abs(np.fft.rfft(samples)) ** 2
            hz = np.fft.rfftfreq(len(samples), 1 / RATE)
            powers.append(10 * np.log10(spectrum[(hz >= low) & (hz < low + 500)].sum()))
        assert abs(powers[0] - powers[1]) < 0.8
    assert len(plain) == len(changed)
    beside = np.square(changed - plain).sum() / np.square(plain).sum()
    assert 10 * np.log10(beside) < -20


def test_the_bytes_are_the_same_each_time_and_not_those_without():
    assert memo(RippleWatermark()) == memo(RippleWatermark()) != memo(None)
