"""A memo from PCM to MP3, judged by what a player would hear."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis.ambience.fan import fan_loop
from services.synthesis.domain import Labels, SpeechFailed
from services.synthesis.level import TARGET_DBFS, Leveller
from services.synthesis.memo import Memo
from services.synthesis.mix import KNEE, RATE, Backdrop, lead_in, lead_out, limited
from tests.unit.mix_hearing import (
    ENGINE_RATE,
    LABELS,
    NOTHING,
    PHRASE,
    between,
    dbfs,
    heard,
    made,
    silence,
    speech,
    tone,
    tone_dbfs,
)

FRAME_SECONDS = 1152 / RATE
LOOP = fan_loop()


def fan(percent):
    return Backdrop(LOOP, percent)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(PHRASE)), max_size=40))
def test_however_the_speech_is_cut_into_chunks_the_audio_is_the_same_to_the_byte(cuts):
    assert made(PHRASE, fan(30), cuts) == made(PHRASE, fan(30))


def test_chunks_of_one_byte_are_put_together_again():
    pcm = PHRASE[:3001]
    assert made(pcm + b"\0", fan(30), range(len(pcm))) == made(pcm + b"\0", fan(30))


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 4 * ENGINE_RATE), percent=st.sampled_from([0, 30]))
def test_the_audio_is_as_long_as_the_speech_and_its_two_rooms_to_a_frame(samples, percent):
    mp3, summary = made(tone(4)[:samples].tobytes(), fan(percent))
    expected = samples / ENGINE_RATE + (lead_in(RATE) + lead_out(RATE)) / RATE
    played = len(heard(mp3)[0]) / RATE
    assert summary.duration_seconds == pytest.approx(played, abs=1e-9)
    # LAME fills its last frame, and when that is nearly full it needs one more.
    assert expected <= played < expected + 2 * FRAME_SECONDS


def test_every_message_ends_where_a_frame_ends():
    memo = Memo(ENGINE_RATE, LABELS, fan(30))
    pcm = speech(tone(3))
    for at in range(0, len(pcm), 9001):
        audio = memo.add(pcm[at : at + 9001])
        audio = audio[audio.find(b"\xff\xfb") :] if at == 0 else audio
        assert_whole_frames(audio)
    assert_whole_frames(memo.finish().audio)


def assert_whole_frames(audio):
    while audio:
        assert audio[:3] == b"\xff\xfb\x90" or audio[:3] == b"\xff\xfb\x92"
        audio = audio[417 + (audio[2] >> 1 & 1) :]


def test_the_first_frames_come_with_the_first_sample():
    memo = Memo(ENGINE_RATE, LABELS, fan(30))
    first = memo.add(tone(0.02)[:1].tobytes())
    samples, _ = heard(first)
    assert len(samples) >= 1152


@pytest.mark.parametrize("percent", [1, 30, 100])
def test_the_voice_keeps_its_level_over_the_fan(percent):
    pcm = speech(silence(0.1), tone(3))
    alone, _ = heard(made(pcm)[0])
    mixed, _ = heard(made(pcm, fan(percent))[0])
    for start in (0.5, 1.5, 2.5):
        difference = tone_dbfs(between(mixed, start, start + 0.5)) - tone_dbfs(
            between(alone, start, start + 0.5)
        )
        assert abs(difference) < 0.5


@pytest.mark.parametrize("spoken_dbfs", [-33, -26, -20, -12, -6])
def test_voices_of_any_level_come_out_at_one_level(spoken_dbfs):
    words = [part for _ in range(8) for part in (tone(0.5, spoken_dbfs), silence(0.15))]
    leveller = Leveller(ENGINE_RATE)
    levelled = np.concatenate([leveller.add(speech(*words)), leveller.finish()])
    last_word = levelled[-round(0.55 * ENGINE_RATE) : -round(0.25 * ENGINE_RATE)]
    first_word = levelled[round(0.1 * ENGINE_RATE) : round(0.4 * ENGINE_RATE)]
    assert dbfs(last_word) == pytest.approx(TARGET_DBFS, abs=1)
    assert dbfs(first_word) == pytest.approx(TARGET_DBFS, abs=3.5)


def test_a_pause_is_not_turned_up():
    quiet_room = (np.random.default_rng(1).standard_normal(ENGINE_RATE * 2) * 20).astype("<i2")
    pcm = speech(tone(1), quiet_room, tone(1))
    leveller = Leveller(ENGINE_RATE)
    levelled = np.concatenate([leveller.add(pcm), leveller.finish()])
    pause = levelled[round(1.5 * ENGINE_RATE) : round(2.5 * ENGINE_RATE)]
    assert dbfs(pause) == pytest.approx(dbfs(quiet_room / 32768), abs=1)


def test_volume_0_is_the_voice_alone():
    silent_loop = Memo(ENGINE_RATE, LABELS, Backdrop(np.zeros_like(LOOP), 100))
    audio = silent_loop.add(PHRASE) + silent_loop.finish().audio
    assert made(PHRASE, fan(0))[0] == audio
    assert made(PHRASE, fan(1))[0] != audio


def test_the_fan_is_heard_between_words_and_louder_at_a_higher_volume():
    pcm = speech(tone(0.6), silence(1.0), tone(0.6))
    pauses = {
        percent: dbfs(between(heard(made(pcm, fan(percent))[0])[0], 1.0, 1.5)) for percent in (0, 30, 60)
    }
    assert pauses[0] < -80
    assert -40 < pauses[30] < -33
    assert pauses[60] - pauses[30] == pytest.approx(6, abs=0.5)


def test_the_fan_fades_at_both_ends():
    samples, _ = heard(made(speech(silence(2)), fan(100))[0])
    middle = dbfs(between(samples, 0.5, 1.5))
    assert dbfs(between(samples, 0, 0.04)) < middle - 15
    assert dbfs(samples[-round(0.04 * RATE) :]) < middle - 15
    assert dbfs(between(samples, 0.2, 0.3)) == pytest.approx(middle, abs=2.5)
    assert dbfs(between(samples, 1.9, 2.1)) == pytest.approx(middle, abs=2.5)


def test_a_voice_cut_off_at_full_swing_ends_without_a_click():
    held = np.full(ENGINE_RATE, 6000, "<i2")
    leveller = Leveller(ENGINE_RATE)
    levelled = np.concatenate([leveller.add(held.tobytes()), leveller.finish()])
    assert np.abs(np.diff(levelled, prepend=0, append=0)).max() < 0.01


def test_nothing_reaches_full_scale_and_a_normal_mix_is_not_touched():
    loud = np.linspace(-4, 4, 1001, dtype=np.float32)
    assert np.abs(limited(loud)).max() < 1
    assert (np.diff(limited(loud)) >= 0).all()
    normal = np.linspace(-KNEE, KNEE, 1001, dtype=np.float32)
    assert (limited(normal) == normal).all()


def test_the_tag_says_that_a_machine_spoke_and_which_recording_it_is():
    _, tags = heard(made(PHRASE)[0])
    assert tags["title"] == LABELS.title
    assert tags["comment"].startswith("AI-generated")
    assert "rec-7" in tags["comment"]
    assert tags["AI_GENERATED"] == "true"


@given(title=st.text(max_size=100))
@settings(max_examples=30, deadline=None)
def test_no_title_breaks_the_tag(title):
    memo = Memo(ENGINE_RATE, Labels(title, "r"), NOTHING)
    _, tags = heard(memo.add(b"\0\0") + memo.finish().audio)
    assert "AI-generated" in tags["comment"]


def test_half_a_sample_at_the_end_is_a_failure():
    with pytest.raises(SpeechFailed):
        made(PHRASE + b"\0")


def test_a_long_memo_takes_no_more_memory_than_a_short_one():
    memo = Memo(ENGINE_RATE, LABELS, fan(30))
    second = speech(tone(1))

    def held_after(seconds):
        for _ in range(seconds):
            memo.add(second)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early, late = held_after(20), held_after(60)
    finally:
        tracemalloc.stop()
    assert late - early < 50_000
