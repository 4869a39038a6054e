from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.old_settings import OLD_NAMES, renewed
from services.auth.domain.preferences import SETTINGS, with_changes


@given(st.integers(0, 100))
def test_every_whole_percentage_comes_back_from_its_fraction(percent: int) -> None:
    found = renewed({"stability": percent / 100, "similarity": float(percent) / 100}, {})
    assert found.changes == {"voice_stability": percent, "voice_similarity": percent}
    assert found.unreadable == ()


@given(st.floats(0, 1))
def test_a_fraction_becomes_the_nearest_percentage(fraction: float) -> None:
    percent = renewed({"stability": fraction}, {}).changes["voice_stability"]
    assert isinstance(percent, int)
    assert 0 <= percent <= 100
    # A hair more than a half: the shortest decimal form may differ from the float by an ulp.
    assert abs(percent - Fraction(fraction) * 100) <= Fraction(1, 2) + Fraction(1, 10**12)


def test_the_bounds_of_a_fraction_are_0_and_100_percent_whether_whole_numbers_or_not() -> None:
    for zero, one in ((0, 1), (0.0, 1.0)):
        found = renewed({"stability": zero, "similarity": one}, {})
        assert found.changes == {"voice_stability": 0, "voice_similarity": 100}


@pytest.mark.parametrize(
    ("old", "new"), [("english", "en"), ("spanish", "es"), ("English", "en"), ("pt-br", "pt-BR")]
)
def test_the_names_of_languages_become_tags(old: str, new: str) -> None:
    assert renewed({"language": old}, {}).changes == {"voice_language": new}


def test_what_a_newer_release_wrote_stays() -> None:
    settings = {"stability": 0.5, "voice_stability": 1, "sex": "male", "speaker_sex": "female"}
    found = renewed(settings, {"language": "spanish"})
    assert found.changes == {"voice_language": "es"}
    assert found.unreadable == ()


def test_settings_count_before_what_stands_beside_them() -> None:
    assert renewed({"stability": 0.2}, {"stability": 0.9}).changes == {"voice_stability": 20}
    assert renewed({"stability": "much"}, {"stability": 0.9}).changes == {"voice_stability": 90}


@pytest.mark.parametrize(
    "value", [75, 1.5, -0.1, float("nan"), float("inf"), True, "0.5", None, [0.5], {"is": 0.5}]
)
def test_what_is_no_fraction_is_not_guessed_at(value: Any) -> None:
    found = renewed({"stability": value}, {})
    assert (found.changes, found.unreadable) == ({}, ("stability",))


@pytest.mark.parametrize("value", [0.5, "50", 101, -1, True, None])
def test_a_new_name_with_a_value_that_no_release_wrote_is_no_reason_to_keep_it(value: Any) -> None:
    assert renewed({"voice_stability": value, "stability": 0.3}, {}).changes == {"voice_stability": 30}
    assert renewed({"voice_stability": value, "sex": "male"}, {}).unreadable == ("voice_stability",)


NAMES = [*OLD_NAMES, *SETTINGS]
NEW_NAMES = {new for new, _ in OLD_NAMES.values()}
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), GARBAGE)


@given(DOCUMENTS, DOCUMENTS)
def test_whatever_was_kept_becomes_settings_that_can_be_read(
    settings: dict[str, Any], beside: dict[str, Any]
) -> None:
    found = renewed(settings, beside)
    assert with_changes(found.changes)
    assert set(found.changes) <= set(SETTINGS)
    # Every old field ends in one of three ways: taken over, not understood, or overruled by a new one.
    for old, (new, _) in OLD_NAMES.items():
        if old in settings or old in beside:
            assert new in found.changes or old in found.unreadable or new in settings
    # What stays under a new name can be read as well.
    replaced = {*found.changes, *found.unreadable}
    stays = {name: settings[name] for name in NEW_NAMES - replaced if name in settings}
    assert renewed(stays, {}).unreadable == ()
