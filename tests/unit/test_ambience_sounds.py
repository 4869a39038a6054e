"""Every sound under a memo: no seam, no surprise, as loud as the others."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyloudnorm
import pytest

from services.synthesis.ambience import Ambience
from services.synthesis.ambience.noise import LOOP_SAMPLES
from services.synthesis.domain import Background, Sound, SoundNotFound
from services.synthesis.mix import RATE
from tests.unit.mix_hearing import dbfs, heard

SOUNDS = [sound for sound in Sound if sound is not Sound.OFF]
RATES = [8_000, 16_000, 22_050, 24_000, 32_000, RATE, 48_000]
AMBIENCE = Ambience()

each_sound = pytest.mark.parametrize("sound", SOUNDS)


def steps(samples, order):
    return np.abs(np.diff(samples.astype(np.float64), order)).max()


def loudness(samples):
    return pyloudnorm.Meter(RATE).integrated_loudness(np.tile(samples, 2).astype(np.float64))


def octaves(samples, rate=RATE):
    """The level in each octave from 62 Hz up."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / rate)
    edges = [62.5 * 2**step for step in range(8) if 62.5 * 2 ** (step + 1) <= 0.9 * rate / 2]
    return np.array([10 * np.log10(power[(hz >= edge) & (hz < 2 * edge)].sum()) for edge in edges])


@each_sound
@pytest.mark.parametrize("rate", RATES)
def test_the_loop_has_no_seam_at_any_rate(sound, rate):
    loop = AMBIENCE.loop(sound, rate)
    seam = np.concatenate([loop[-50:], loop[:50]])
    assert steps(seam, 1) <= steps(loop, 1)
    assert steps(seam, 2) <= steps(loop, 2)
    tenth = rate // 10
    around = np.concatenate([loop[-tenth:], loop[:tenth]])
    tenths = [dbfs(part) for part in np.array_split(loop, len(loop) // (2 * tenth))]
    assert min(tenths) - 1 <= dbfs(around) <= max(tenths) + 1


@each_sound
def test_it_is_the_same_from_beginning_to_end(sound):
    loop = AMBIENCE.loop(sound)
    halves = [octaves(half) for half in np.split(loop, 2)]
    assert halves[0] == pytest.approx(halves[1], abs=2)
    levels = [dbfs(part) for part in np.array_split(loop, 23)]
    assert np.ptp(levels) < 4


@each_sound
def test_it_is_as_loud_to_the_ear_as_the_fan(sound):
    assert loudness(AMBIENCE.loop(sound)) == pytest.approx(loudness(AMBIENCE.loop(Sound.FAN)), abs=0.5)
    assert np.abs(AMBIENCE.loop(sound)).max() < 0.35


def test_no_two_sound_alike():
    spectra = {sound: octaves(AMBIENCE.loop(sound)) for sound in SOUNDS}
    for one in SOUNDS:
        for other in SOUNDS:
            assert one is other or np.abs(spectra[one] - spectra[other]).max() > 3
    centres = {sound: (10 ** (levels / 10)).argmax() for sound, levels in spectra.items()}
    assert max(centres, key=lambda sound: centres[sound]) is Sound.RAIN


@pytest.mark.parametrize("rate", RATES)
def test_another_rate_changes_neither_sound_nor_length(rate):
    loop = AMBIENCE.loop(Sound.RAIN, rate)
    assert len(loop) / rate == pytest.approx(LOOP_SAMPLES / RATE, abs=1 / rate)
    found = octaves(loop, rate) - 20 * np.log10(len(loop) / LOOP_SAMPLES)
    assert found == pytest.approx(octaves(AMBIENCE.loop(Sound.RAIN))[: len(found)], abs=0.1)


def test_a_loop_is_made_once_however_many_threads_ask():
    ambience = Ambience()
    with ThreadPoolExecutor(4) as threads:
        loops = list(threads.map(lambda rate: ambience.loop(Sound.STREET, rate), [24_000, RATE] * 4))
    assert len({id(loop) for loop in loops}) == 2


@each_sound
def test_the_served_mp3_is_one_turn_at_the_volume_that_is_asked_for(sound):
    full, half = (heard(AMBIENCE.mp3(sound, volume))[0] for volume in (100, 50))
    assert len(full) == LOOP_SAMPLES
    assert dbfs(full) == pytest.approx(dbfs(AMBIENCE.loop(sound)), abs=0.5)
    assert dbfs(full) - dbfs(half) == pytest.approx(6, abs=0.2)
    assert not heard(AMBIENCE.mp3(sound, 0))[0].any()


@pytest.mark.parametrize("background", [Background(Sound.OFF, 80, ducking=True), Background(Sound.RAIN, 0)])
def test_off_and_volume_0_are_silence(background):
    assert AMBIENCE.backdrop(background).volume_percent == 0


def test_a_sound_that_nobody_made_is_not_found():
    with pytest.raises(SoundNotFound):
        Sound.named("waterfall")
