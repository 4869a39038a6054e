"""What becomes of recordings: the examination itself, without the process around it."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.voice.refusals import FOUND_BY_EXAMINATION, SampleMediaUnknown, SampleRefused, SampleTooShort
from services.voice.sample.decoding import RATE, decode
from services.voice.sample.examination import examine
from services.voice.sample.loudness import loudness, normalised
from services.voice.sample.media import demuxer_of
from services.voice.sample.speech import find_speech
from tests import samples


def test_the_same_sound_has_the_same_hash_in_every_lossless_format() -> None:
    wav, flac = examine(samples.speech(suffix="wav")), examine(samples.speech(suffix="flac"))
    assert wav.hash == flac.hash
    assert wav.mp3 == flac.mp3
    assert wav.hash != examine(samples.speech(1, "wav")).hash


@pytest.mark.parametrize("suffix", samples.FORMATS)
def test_every_format_is_decoded_to_the_same_speech(suffix: str) -> None:
    found = examine(samples.speech(suffix=suffix))
    assert 35.5 < found.seconds < 36.3
    assert found.transcoded == (suffix != "mp3")
    assert len(found.pcm) == round(found.seconds * RATE) * 2
    pcm = (np.frombuffer(found.pcm, "<i2") / 32767).astype(np.float32)
    assert loudness(pcm) == pytest.approx(-20, abs=0.3)
    assert np.abs(pcm).max() <= 10 ** (-3 / 20) + 1e-4
    heard = samples.signal(found.mp3)
    assert len(heard) / samples.RATE == pytest.approx(found.seconds, abs=0.2)
    assert loudness(heard) == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("speaker", range(len(samples.SPEAKERS)))
def test_every_speaker_of_the_tests_is_accepted(speaker: int) -> None:
    assert 30 <= examine(samples.speech(speaker)).seconds <= 60


@given(gain=st.floats(0.02, 3.0), spike=st.floats(0.0, 20.0), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_any_signal_is_brought_to_the_level_without_a_peak_above_the_limit(
    gain: float, spike: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    sound = random.normal(scale=0.1, size=3 * RATE) * np.repeat(random.uniform(0.2, 1, 300), RATE // 100)
    sound[seed * 50] += spike
    result = normalised((sound * gain).astype(np.float32))
    assert np.abs(result).max() <= 10 ** (-3 / 20) + 1e-5
    assert loudness(result) <= -19.9


def test_silence_around_the_speech_is_cut_away_and_not_counted() -> None:
    speech = samples.signal(samples.speech(suffix="flac"))
    pause = np.zeros(10 * RATE, np.float32)
    padded = examine(samples.encoded(np.concatenate([pause, speech, pause]), "flac"))
    assert padded.seconds == pytest.approx(examine(samples.speech(suffix="flac")).seconds, abs=0.6)
    assert padded.transcoded


def test_a_short_speech_in_a_long_recording_is_too_short_and_says_how_much_there_was() -> None:
    speech = samples.signal(samples.speech(suffix="flac", seconds=12.0))
    recording = np.concatenate([speech, np.zeros(25 * RATE, np.float32)])
    with pytest.raises(SampleTooShort, match=r"Only 1[12] s of speech were found in 37 s"):
        examine(samples.encoded(recording, "flac"))


def test_a_moment_over_a_minute_is_cut_off_and_more_is_refused() -> None:
    assert examine(samples.speech(seconds=61.0)).seconds == 60
    with pytest.raises(SampleRefused) as refusal:
        examine(samples.speech(seconds=64.0))
    assert refusal.value.reason == "SAMPLE_TOO_LONG"


def test_speech_is_found_where_it_is() -> None:
    pause = np.zeros(4 * RATE, np.float32)
    speech = samples.signal(samples.speech(suffix="flac", seconds=20.0))
    found = find_speech(np.concatenate([pause, speech, pause]))
    assert found.start == pytest.approx(4, abs=0.5)
    assert found.end == pytest.approx(24, abs=0.7)
    assert 0.6 < found.share < 1


@pytest.mark.parametrize("seconds", [130, 600])
def test_a_small_file_with_hours_of_sound_is_not_decoded_to_its_end(seconds: int) -> None:
    tiny = samples.encoded(np.zeros(seconds * RATE, np.float32), "flac")
    decoded = decode(tiny, "flac")
    assert decoded.cut_off
    assert decoded.seconds < 122


@given(tail=st.binary(max_size=2000))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize(
    "magic",
    [
        b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0",
        b"RIFF\xff\0\0\0WAVEfmt ",
        b"OggS",
        b"fLaC",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\x20ftypM4A ",
        b"\xff\xfb\x90\0",
    ],
)
def test_no_bytes_are_more_than_refused(magic: bytes, tail: bytes) -> None:
    with pytest.raises(SampleRefused) as refusal:
        examine(magic + tail)
    assert refusal.value.reason in FOUND_BY_EXAMINATION


@pytest.mark.parametrize(
    "not_audio",
    [
        samples.text_named_mp3,
        lambda: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
        lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
        lambda: b"\x89PNG\r\n\x1a\n" + os.urandom(100),
        lambda: b"\xff\xf1\x50\x80" + os.urandom(100),
        lambda: b"%PDF-1.7",
        lambda: b"x",
    ],
)
def test_what_is_not_an_accepted_recording_never_reaches_a_decoder(not_audio: Callable[[], bytes]) -> None:
    with pytest.raises(SampleMediaUnknown):
        demuxer_of(not_audio())
