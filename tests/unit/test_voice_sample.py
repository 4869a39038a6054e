"""What becomes of recordings: the examination itself, without the process around it."""

import io
import os
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pyloudnorm
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from services.voice.refusals import FOUND_BY_EXAMINATION, SampleMediaUnknown, SampleRefused, SampleTooShort
from services.voice.sample.decoding import RATE, Signal, decode
from services.voice.sample.examination import examine, reread
from services.voice.sample.loudness import loudness, normalised
from services.voice.sample.media import demuxer_of
from services.voice.sample.speech import find_speech
from tests import samples

pytestmark = pytest.mark.slow


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


def true_peak(sound: Signal) -> float:
    """Four times oversampled, by whichever of two interpolators finds more."""
    between = np.abs(soxr.resample(sound, RATE, 4 * RATE)).max(), np.abs(resample_poly(sound, 4, 1)).max()
    return float(20 * np.log10(max(between)))


@pytest.mark.parametrize("speaker", range(len(samples.SPEAKERS)))
def test_every_speaker_is_brought_to_the_same_level_with_the_same_headroom(speaker: int) -> None:
    found = examine(samples.speech(speaker))
    assert 30 <= found.seconds <= 60
    pcm = (np.frombuffer(found.pcm, "<i2") / 32767).astype(np.float32)
    studio = soxr.resample(pcm, RATE, 48_000)
    assert pyloudnorm.Meter(48_000).integrated_loudness(studio) == pytest.approx(-20, abs=0.1)
    assert true_peak(pcm) <= -3
    assert true_peak(samples.signal(found.mp3)) <= -3


def test_a_stored_sample_sounds_the_same_when_it_is_read_again() -> None:
    accepted = examine(samples.speech())
    again = reread(accepted.mp3)
    assert again.seconds == pytest.approx(accepted.seconds, abs=0.1)
    assert again.mp3 == accepted.mp3
    before, after = (np.frombuffer(each.pcm, "<i2")[: 30 * RATE].astype(float) for each in (accepted, again))
    assert np.corrcoef(before, after)[0, 1] > 0.999


def test_a_sample_is_read_again_without_a_verdict_and_at_any_rate() -> None:
    finer = soxr.resample(samples.signal(samples.noise())[: 5 * RATE], RATE, 44_100)
    written = io.BytesIO()
    with av.open(written, "w", format="mp3") as container:
        stream: Any = container.add_stream("libmp3lame", rate=44_100, layout="mono", format="s16p")
        block = np.round(finer * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16p", layout="mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert reread(written.getvalue()).seconds == pytest.approx(5, abs=0.1)


@given(gain=st.floats(0.02, 3.0), spike=st.floats(0.0, 20.0), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_any_signal_is_brought_to_the_level_without_a_peak_above_the_limit(
    gain: float, spike: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    sound = random.normal(scale=0.1, size=3 * RATE) * np.repeat(random.uniform(0.2, 1, 300), RATE // 100)
    sound[seed * 50] += spike
    result = normalised((sound * gain).astype(np.float32))
    assert true_peak(result) <= -3
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
