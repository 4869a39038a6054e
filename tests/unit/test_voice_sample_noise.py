"""How noise behind a voice is measured, and when there is too much of it."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
import soxr

from services.voice.refusals import SampleNoisy
from services.voice.sample.decoding import RATE, Signal
from services.voice.sample.examination import examine
from services.voice.sample.speech import find_speech
from tests import samples

pytestmark = pytest.mark.slow

SECONDS: Final = 34.0
FRAME: Final = RATE // 50


def white(length: int) -> Signal:
    return np.random.default_rng(1).normal(size=length).astype(np.float32)


def pink(length: int) -> Signal:
    hz = np.fft.rfftfreq(length, 1 / RATE)
    return np.fft.irfft(np.fft.rfft(white(length)) / np.sqrt(np.maximum(hz, 20)), length).astype(np.float32)


def fan(length: int) -> Signal:
    """Air, and blades that turn."""
    time = np.arange(length) / RATE
    blades = sum(np.sin(2 * np.pi * 110 * harmonic * time) / harmonic for harmonic in (1, 2, 3, 4))
    air = pink(length) * (1 + 0.3 * np.sin(2 * np.pi * 7 * time))
    turning: Signal = (air / air.std() + 0.7 * blades).astype(np.float32)
    return turning


def music(length: int) -> Signal:
    return np.resize(samples.signal(samples.music()), length)


NOISES: Final = (white, pink, fan, music)


def voice(speaker: int = 0) -> Signal:
    return samples.signal(samples.speech(speaker, "flac", SECONDS))


def power_of_words(sound: Signal) -> float:
    """Mean over the frames that are not pauses."""
    power = np.square(sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)).mean(axis=1)
    return float(power[power > np.quantile(power, 0.95) / 1000].mean())


def noisy(sound: Signal, noise: Callable[[int], Signal], ratio_db: float) -> Signal:
    """With words this far above the noise."""
    behind = noise(len(sound))
    gain = np.sqrt(power_of_words(sound) / 10 ** (ratio_db / 10) / np.square(behind).mean())
    mixed: Signal = sound + behind * np.float32(gain)
    return mixed * np.float32(0.5 / np.abs(mixed).max())


@pytest.mark.parametrize("ratio_db", [5, 8])
@pytest.mark.parametrize("noise", NOISES)
def test_a_voice_in_noise_is_refused_and_told_how_to_find_quiet(
    noise: Callable[[int], Signal], ratio_db: float
) -> None:
    with pytest.raises(SampleNoisy, match=r"stands \d+ dB above it; at least 13 dB") as refusal:
        examine(samples.encoded(noisy(voice(), noise, ratio_db), "flac"))
    assert "quiet room" in refusal.value.action


@pytest.mark.parametrize("noise", NOISES)
def test_a_quiet_background_is_no_reason_to_refuse(noise: Callable[[int], Signal]) -> None:
    assert examine(samples.encoded(noisy(voice(), noise, 18), "flac")).seconds > 30


@pytest.mark.parametrize("ratio_db", [5, 10, 15, 20])
@pytest.mark.parametrize("speaker", [0, 1])
def test_the_estimate_is_near_the_truth(speaker: int, ratio_db: float) -> None:
    assert find_speech(noisy(voice(speaker), white, ratio_db)).clearance_db == pytest.approx(ratio_db, abs=3)


@pytest.mark.parametrize("speaker", range(len(samples.SPEAKERS)))
def test_recordings_of_the_tests_stand_far_above_their_background(speaker: int) -> None:
    assert find_speech(voice(speaker)).clearance_db > 22


def test_a_telephone_is_not_a_noise() -> None:
    narrow = soxr.resample(soxr.resample(voice(), RATE, 7_000), 7_000, RATE)
    coarse = np.round(narrow * 256) / np.float32(256)
    assert find_speech(coarse.astype(np.float32)).clearance_db > 18


def test_hum_of_the_mains_is_not_counted() -> None:
    sound = voice()
    hum = np.sin(2 * np.pi * 50 * np.arange(len(sound)) / RATE).astype(np.float32)
    assert find_speech(noisy(sound, lambda _: hum, 6)).clearance_db > 20


def test_who_reads_without_any_pause_is_not_taken_for_noisy() -> None:
    sound = voice()
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    level = np.square(frames).mean(axis=1)
    dense = frames[level > np.quantile(level, 0.25)].ravel()
    assert find_speech(dense).clearance_db > 14


def test_more_noise_never_looks_like_less() -> None:
    found = [find_speech(noisy(voice(), pink, ratio)).clearance_db for ratio in (30, 24, 18, 12, 6)]
    assert found == sorted(found, reverse=True)


def test_what_has_no_speech_stands_above_nothing() -> None:
    assert find_speech(white(5 * RATE)).clearance_db == 0.0
