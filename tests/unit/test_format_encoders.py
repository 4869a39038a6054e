"""Samples in, frames out: how long, how whole, and the same however they were cut."""

import tracemalloc
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis import formats
from services.synthesis.domain import OFFERED_RATES, Format, Medium, SampleRateNotOffered
from tests.unit.mix_hearing import LABELS, MEDIA, heard, playing_rate

pytestmark = pytest.mark.slow

EVERY_MEDIUM = [Medium(name, rate) for name in Format for rate in sorted(set(OFFERED_RATES[name]))]
# By which a decoder tells one frame from the next.
BEGINS = {
    Format.MP3: (b"\xff\xf3", b"\xff\xfb"),
    Format.OPUS: (b"OggS",),
    Format.AAC: (b"\xff\xf1",),
    Format.FLAC: (b"\xff\xf8",),
}


def chirp(rate, seconds=1.3):
    """Never twice the same, so that a lost or doubled sample is seen; one spike to find its place."""
    times = np.arange(round(seconds * rate)) / rate
    sound = 0.1 * np.sin(2 * np.pi * (200 + 900 * times) * times) * np.hanning(len(times))
    sound[len(sound) // 2] = 0.9
    return sound.astype(np.float32)


def encoded(medium, samples, cuts=()):
    """The opening and every frame."""
    encoder = formats.encoder(medium, LABELS)
    edges = [0, *sorted(cuts), len(samples)]
    frames = [frame for a, b in pairwise(edges) for frame in encoder.encode(samples[a:b])]
    return encoder, [encoder.opening, *frames, *encoder.finish()]


@cache
def uncut(medium):
    return b"".join(encoded(medium, chirp(medium.sample_rate))[1])


def name_of(medium):
    return f"{medium.format}-{medium.sample_rate}"


@pytest.mark.parametrize("medium", EVERY_MEDIUM, ids=name_of)
def test_the_audio_is_exactly_as_long_as_the_samples_or_fills_its_last_frame(medium):
    sound, rate = chirp(medium.sample_rate), playing_rate(medium)
    encoder, parts = encoded(medium, sound)
    played, _ = heard(b"".join(parts), medium)
    assert encoder.seconds == pytest.approx(len(played) / rate, abs=1e-9)
    whole = encoder.delay_samples + len(sound)
    if medium.format in (Format.MP3, Format.AAC):
        # The end of the audio may need one more frame than its samples do: codecs overlap their frames.
        frame = {Format.MP3: 1152 if medium.sample_rate >= 32_000 else 576, Format.AAC: 1024}[medium.format]
        assert whole <= len(played) <= whole + 2 * frame
        assert len(played) % frame == 0
    else:
        assert len(played) * medium.sample_rate == whole * rate


@pytest.mark.parametrize("medium", EVERY_MEDIUM, ids=name_of)
def test_every_sample_is_played_at_its_time(medium):
    sound = chirp(medium.sample_rate)
    encoder, parts = encoded(medium, sound)
    played, _ = heard(b"".join(parts), medium)
    spike = np.abs(played).argmax() * medium.sample_rate / playing_rate(medium)
    assert spike - encoder.delay_samples == pytest.approx(len(sound) // 2, abs=1)


@pytest.mark.parametrize("medium", MEDIA, ids=name_of)
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=40))
def test_however_the_samples_are_cut_the_audio_is_the_same_to_the_byte(medium, cuts):
    assert b"".join(encoded(medium, chirp(medium.sample_rate), cuts)[1]) == uncut(medium)


@pytest.mark.parametrize("medium", MEDIA, ids=name_of)
def test_what_is_handed_out_are_whole_frames(medium):
    _, (_, *frames) = encoded(medium, chirp(medium.sample_rate), range(0, 20_000, 777))
    assert all(frames)
    for frame in frames:
        assert_whole(medium.format, frame)


def assert_whole(name, frame):
    if name in (Format.WAV, Format.PCM):
        assert len(frame) % 2 == 0
        return
    assert frame.startswith(BEGINS[name])
    if name is Format.AAC:
        assert len(frame) == (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
    while name is Format.OPUS and frame:
        table = frame[27 : 27 + frame[26]]
        assert frame.startswith(b"OggS")
        frame = frame[27 + len(table) + sum(table) :]


@pytest.mark.parametrize("name", [Format.FLAC, Format.WAV, Format.PCM])
def test_what_keeps_every_sample_keeps_it_to_the_last_bit_but_one(name):
    medium = Medium.wanted(name, 0)
    played, _ = heard(uncut(medium), medium)
    assert np.abs(played - chirp(medium.sample_rate)).max() < 2 / 32768


@pytest.mark.parametrize("medium", MEDIA, ids=name_of)
def test_no_join_is_heard(medium):
    """In a steady tone no two neighbours are further apart than the tone takes them: a click would be."""
    rate = medium.sample_rate
    steady = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.float32)
    _, parts = encoded(medium, steady, range(0, 2 * rate, 313))
    played, _ = heard(b"".join(parts), medium)
    middle = played[len(played) // 4 : 3 * len(played) // 4]
    tone_step = 0.3 * 2 * np.pi * 440 / playing_rate(medium)
    assert np.abs(np.diff(middle)).max() < 1.25 * tone_step
    assert np.abs(middle).max() < 1.15 * 0.3


@pytest.mark.parametrize("medium", MEDIA, ids=name_of)
def test_a_long_stream_takes_no_more_memory_than_a_short_one(medium):
    encoder, second = formats.encoder(medium, LABELS), chirp(medium.sample_rate, 1)

    def held_after(seconds):
        for _ in range(seconds):
            encoder.encode(second)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early, late = held_after(10), held_after(30)
    finally:
        tracemalloc.stop()
    assert late - early < 20_000


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100])
def test_opus_has_only_the_rates_of_opus(rate):
    with pytest.raises(SampleRateNotOffered):
        Medium.wanted("opus", rate)


def test_whoever_asks_for_nothing_gets_the_usual():
    assert Medium.wanted("", 0) == Medium(Format.MP3, 44_100) == Medium()
    assert Medium.wanted("pcm", 0).sample_rate == Medium.wanted("wav", 0).sample_rate == 24_000
