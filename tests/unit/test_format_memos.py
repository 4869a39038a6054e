"""A memo in each format: the same memo, judged by what a player would hear."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis import formats
from services.synthesis.ambience import Ambience
from services.synthesis.domain import Background, Format, Medium, Sound
from services.synthesis.level import TARGET_DBFS
from services.synthesis.memo import Memo
from services.synthesis.mix import Backdrop
from tests.unit.mix_hearing import (
    ENGINE_RATE,
    LABELS,
    MEDIA,
    NOTHING,
    PHRASE,
    between,
    dbfs,
    heard,
    made,
    playing_rate,
    speech,
    tone,
    tone_dbfs,
)

pytestmark = pytest.mark.slow

AMBIENCE = Ambience()
ROOMS_SECONDS = 0.45


def rain(medium) -> Backdrop:
    return AMBIENCE.backdrop(Background(Sound.RAIN, 30), medium.sample_rate)


def name_of(medium):
    return f"{medium.format}-{medium.sample_rate}"


each_medium = pytest.mark.parametrize("medium", MEDIA, ids=name_of)


@each_medium
def test_the_voice_is_at_its_level_between_two_rooms(medium):
    rate = playing_rate(medium)
    samples, _ = heard(made(speech(tone(3)), NOTHING, medium=medium)[0], medium)
    assert tone_dbfs(between(samples, 0.5, 2.5, rate), rate=rate) == pytest.approx(TARGET_DBFS, abs=0.5)
    assert dbfs(between(samples, 0, 0.12, rate)) < -70
    assert dbfs(between(samples, 3.2, 3.4, rate)) < -70
    assert dbfs(between(samples, 0.16, 0.26, rate)) > -24


@each_medium
def test_the_summary_says_how_long_it_plays(medium):
    audio, summary = made(speech(tone(2)), rain(medium), medium=medium)
    played = len(heard(audio, medium)[0]) / playing_rate(medium)
    assert summary.duration_seconds == pytest.approx(played, abs=1e-9)
    frame = 0 if medium.format not in (Format.MP3, Format.AAC) else 2 * 1152 / medium.sample_rate
    assert 2 + ROOMS_SECONDS - 0.001 <= played <= 2 + ROOMS_SECONDS + 0.001 + frame


@each_medium
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, len(PHRASE)), max_size=30))
def test_however_the_speech_is_cut_the_audio_is_the_same_to_the_byte(medium, cuts):
    assert made(PHRASE, rain(medium), cuts, medium) == made(PHRASE, rain(medium), (), medium)


@pytest.mark.parametrize("name", Format)
def test_the_first_audio_comes_with_the_first_sample(name):
    medium = Medium.wanted(name, 0)
    opening = formats.encoder(medium, LABELS).opening
    first = Memo(ENGINE_RATE, LABELS, NOTHING, medium).add(b"\0\0")
    assert first.startswith(opening)
    assert len(first) > len(opening)


@each_medium
def test_the_voice_keeps_its_level_over_the_rain(medium):
    pcm, rate = speech(tone(3)), playing_rate(medium)
    alone, over = (
        between(heard(made(pcm, under, medium=medium)[0], medium)[0], 0.5, 2.5, rate)
        for under in (NOTHING, rain(medium))
    )
    assert tone_dbfs(over, rate=rate) == pytest.approx(tone_dbfs(alone, rate=rate), abs=0.5)
    assert dbfs(over) > dbfs(alone)
