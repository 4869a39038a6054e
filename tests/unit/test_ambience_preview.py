"""A preview tells a user how loud the background will be: so its levels are a memo's."""

import numpy as np
import pytest

from services.synthesis.ambience import Ambience
from services.synthesis.domain import Background, Sound
from services.synthesis.duck import DUCKED_DB
from services.synthesis.level import TARGET_DBFS
from services.synthesis.mix import RATE
from services.synthesis.preview import Previews
from tests.unit.mix_hearing import between, dbfs, heard

AMBIENCE = Ambience()
PREVIEWS = Previews(AMBIENCE)
# The reader draws breath here.
BREATH = (3.75, 4.0)


def preview(sound, volume=30, *, ducking=False):
    return heard(PREVIEWS.mp3(Background(sound, volume, ducking)))


def test_it_is_a_few_seconds_of_somebody_at_the_level_of_every_voice():
    samples, tags = preview(Sound.OFF)
    assert 4 < len(samples) / RATE < 7
    words = [part for part in np.array_split(samples, 100) if dbfs(part) > -32]
    assert dbfs(np.concatenate(words)) == pytest.approx(TARGET_DBFS, abs=2.5)
    assert tags["title"] == "Preview"
    assert "AI" not in str(tags)


@pytest.mark.parametrize("sound", [Sound.FAN, Sound.ROOM_TONE, Sound.STREET, Sound.RAIN])
@pytest.mark.parametrize("volume", [30, 100])
def test_in_the_pause_the_background_is_as_loud_as_under_a_memo(sound, volume):
    samples, _ = preview(sound, volume)
    expected = dbfs(AMBIENCE.loop(sound)) + 20 * np.log10(volume / 100)
    assert dbfs(between(samples, *BREATH)) == pytest.approx(expected, abs=2)


def test_off_and_volume_0_are_the_reader_alone():
    assert PREVIEWS.mp3(Background(Sound.OFF, 80)) == PREVIEWS.mp3(Background(Sound.RAIN, 0))
    assert dbfs(between(preview(Sound.OFF)[0], *BREATH)) < -40


def test_ducking_is_heard_while_the_reader_reads():
    plain, ducked, alone = (
        samples
        for samples, _ in (
            preview(Sound.RAIN, 100),
            preview(Sound.RAIN, 100, ducking=True),
            preview(Sound.OFF),
        )
    )
    beside, under = (between(samples - alone, 1.5, 2.5) for samples in (plain, ducked))
    assert dbfs(under) - dbfs(beside) == pytest.approx(DUCKED_DB, abs=1)


def test_the_same_settings_are_made_once():
    background = Background(Sound.STREET, 40)
    assert PREVIEWS.mp3(background) is PREVIEWS.mp3(background)
