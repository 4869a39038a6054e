from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.errors import DateNotReal
from services.auth.domain.preferences import (
    SETTINGS,
    Preferences,
    Setting,
    canonical_language,
    changes_of,
    with_changes,
)

TAGS = st.from_regex(r"\A[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}\Z")


def test_nothing_given_reads_as_the_defaults_of_the_contract() -> None:
    assert asdict(with_changes({})) == {
        "voice_language": "en",
        "speaker_sex": "male",
        "voice_stability": 50,
        "voice_similarity": 75,
        "background_sound": False,
        "background_volume": 30,
        "voice_note_name": None,
        "voice_note_date": None,
        "voice_note_name_default": False,
    }


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "voice_stability": st.integers(0, 100),
            "voice_similarity": st.integers(0, 100),
            "background_volume": st.integers(0, 100),
            "background_sound": st.booleans(),
            "voice_note_name": st.text(min_size=1, max_size=50),
            "voice_note_date": st.dates().map(str),
            "voice_note_name_default": st.booleans(),
        },
    )
)
def test_what_is_given_reads_back_and_the_rest_is_default(given_settings: dict[str, Setting]) -> None:
    assert asdict(with_changes(given_settings)) == {**asdict(Preferences()), **given_settings}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("english", "en"),
        ("Spanish", "es"),
        ("ES-mx", "es-MX"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("en-x-ab", "en-x-ab"),
    ],
)
def test_languages_are_kept_in_their_common_form(said: str, kept: str) -> None:
    assert changes_of({"voice_language": said}) == {"voice_language": kept}


@given(TAGS)
def test_the_common_form_is_the_same_tag_and_stays(tag: str) -> None:
    common = canonical_language(tag)
    assert canonical_language(common) == common
    assert common.lower() == tag.lower() or tag.lower().startswith(("english", "spanish"))


@pytest.mark.parametrize("day", ["2026-02-29", "2025-04-31", "0000-01-01"])
def test_a_day_that_no_calendar_has_is_refused(day: str) -> None:
    with pytest.raises(DateNotReal):
        changes_of({"voice_note_date": day})


def test_an_empty_name_or_date_is_cleared() -> None:
    cleared = {"voice_note_name": None, "voice_note_date": None}
    assert changes_of({"voice_note_name": "", "voice_note_date": ""}) == cleared


def test_a_change_touches_nothing_else() -> None:
    assert changes_of({"voice_stability": 0}) == {"voice_stability": 0}
    assert len(SETTINGS) == 9
