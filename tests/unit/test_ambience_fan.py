import io

import av
import numpy as np
import pytest

from services.synthesis.ambience import Ambience
from services.synthesis.ambience.fan import FULL_VOLUME_DBFS, fan_loop
from services.synthesis.ambience.noise import LOOP_SAMPLES
from services.synthesis.mix import RATE

LOOP = fan_loop()


def decoded(mp3):
    with av.open(io.BytesIO(mp3)) as opened:
        return np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])


def level(samples):
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def test_the_same_seed_is_the_same_fan_and_another_seed_is_another():
    assert (fan_loop() == LOOP).all()
    assert not np.array_equal(fan_loop(seed=2), LOOP)


def test_the_loop_has_no_seam():
    twice = np.concatenate([LOOP, LOOP])
    seam = np.abs(np.diff(twice[LOOP_SAMPLES - 50 : LOOP_SAMPLES + 50])).max()
    bends = np.abs(np.diff(twice[LOOP_SAMPLES - 50 : LOOP_SAMPLES + 50], 2)).max()
    assert seam <= np.abs(np.diff(LOOP)).max()
    assert bends <= np.abs(np.diff(LOOP, 2)).max()
    around = level(twice[LOOP_SAMPLES - RATE // 10 : LOOP_SAMPLES + RATE // 10])
    assert around == pytest.approx(FULL_VOLUME_DBFS, abs=2)


def test_it_has_its_level_and_never_comes_near_clipping():
    assert level(LOOP) == pytest.approx(FULL_VOLUME_DBFS, abs=0.01)
    assert np.abs(LOOP).max() < 0.3


def test_it_breathes_slowly_and_only_a_little():
    tenths = [level(part) for part in np.array_split(LOOP, 117)]
    assert 0.5 < np.ptp(tenths) < 6


def test_it_is_a_fan_and_not_hiss_or_rumble():
    power = np.abs(np.fft.rfft(LOOP.astype(np.float64))) ** 2
    hz = np.fft.rfftfreq(LOOP_SAMPLES, 1 / RATE)

    def share(low, high):
        return power[(hz >= low) & (hz < high)].sum() / power.sum()

    assert share(0, 40) < 0.02
    assert share(150, 2000) > 0.5
    assert share(6000, 22_050) < 0.05
    # The blades pass 57 times a second.
    assert share(56.5, 57.5) > 5 * share(60, 61)


def test_the_served_mp3_is_one_turn_that_can_be_looped():
    mp3 = Ambience.made().fan_mp3
    samples = decoded(mp3)
    assert len(samples) == LOOP_SAMPLES
    # Played twice, frame after frame, the second turn is what a player's loop sounds like.
    tag = 10 + int.from_bytes(mp3[6:10], "big")
    second_turn = decoded(mp3 + mp3[tag:])[LOOP_SAMPLES:]
    seam = np.abs(np.diff(np.concatenate([samples[-600:], second_turn[:600]]))).max()
    assert seam <= np.abs(np.diff(second_turn)).max()
    tenth = RATE // 10
    assert level(second_turn[:tenth]) == pytest.approx(level(second_turn[tenth : 2 * tenth]), abs=3)
    assert level(second_turn) == pytest.approx(FULL_VOLUME_DBFS, abs=0.5)
