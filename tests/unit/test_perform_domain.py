from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.perform.domain import (
    Order,
    Override,
    Preferences,
    delivery,
    expected_seconds,
)
from services.perform.errors import (
    DateNotReal,
    PageTokenInvalid,
    ValueTooLong,
)
from services.perform.filing import (
    file_name,
    id_in_file_name,
    page_token,
    place,
    place_at,
    place_in_token,
)

NOW = datetime(2026, 3, 1, 19, tzinfo=UTC)
USUAL = Preferences("en", 50, 75, False, 30, "", "", False)
MOMENTS = st.datetimes(datetime(2021, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("en", "New Recording"),
        ("es", "Nueva grabación"),
        ("es-MX", "Nueva grabación"),
        ("fr", "New Recording"),
    ],
)
def test_a_recording_without_a_name_is_called_what_phones_call_it(language: str, title: str) -> None:
    filed = delivery(replace(USUAL, voice_language=language), Override(), NOW)
    assert (filed.title, filed.date) == (title, "2026-03-01")


def test_the_usual_name_is_used_unless_the_user_wants_the_default_or_this_performance_has_its_own() -> None:
    named = replace(USUAL, voice_note_name="Groceries")
    assert delivery(named, Override(), NOW).title == "Groceries"
    assert delivery(replace(named, voice_note_name_default=True), Override(), NOW).title == "New Recording"
    assert delivery(named, Override(voice_note_name="Idea"), NOW).title == "Idea"
    assert delivery(named, Override(voice_note_name=""), NOW).title == "New Recording"


@given(
    st.datetimes(datetime(2021, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),
    st.integers(min_value=-12, max_value=14),
)
def test_a_memo_is_never_dated_tomorrow_wherever_it_is_heard(moment: datetime, hours_east: int) -> None:
    there = moment.astimezone(timezone(timedelta(hours=hours_east)))
    filed = delivery(USUAL, Override(), moment)
    assert filed.date <= there.date().isoformat()
    assert filed.date == delivery(USUAL, Override(), there).date


@pytest.mark.parametrize("hours_east", [1, 0, -5, -8])
def test_a_show_in_the_evening_has_the_day_of_the_evening(hours_east: int) -> None:
    evening = datetime(2026, 3, 1, 20, 30, tzinfo=timezone(timedelta(hours=hours_east)))
    assert delivery(USUAL, Override(), evening).date == "2026-03-01"


@pytest.mark.parametrize(("given_name", "code"), [("english", "en"), ("Spanish", "es"), ("es-AR", "es-AR")])
def test_languages_may_be_given_by_their_english_names(given_name: str, code: str) -> None:
    assert delivery(USUAL, Override(voice_language=given_name), NOW).language == code


def test_zero_and_false_are_values_and_not_absence() -> None:
    loud = replace(USUAL, background_sound=True)
    assert delivery(loud, Override(background_volume=0), NOW).background_volume == 0
    assert delivery(loud, Override(background_sound=False), NOW).background_volume is None
    assert delivery(USUAL, Override(voice_stability=0), NOW).stability == 0


@given(st.text(min_size=1), st.text(min_size=1))
def test_equal_orders_have_equal_fingerprints_and_others_do_not(one: str, other: str) -> None:
    first, second = Order("cards", one, Override()), Order("cards", other, Override())
    assert (first.fingerprint == second.fingerprint) == (one == other)
    assert Order("cards", one, Override(voice_stability=0)).fingerprint != first.fingerprint


def test_a_value_of_several_code_points_a_character_makes_room_for_itself() -> None:
    assert Order("names", "Zoe", Override()).longest_text == 120
    assert Order("names", "👩‍👩‍👧", Override()).longest_text == 124


def test_values_and_dates_that_no_pattern_can_judge_are_refused() -> None:
    Order.asked("names", "v" * 200, Override(voice_note_date="2024-02-29"), shipped_client=False)
    Order.asked("names", "v" * 500, Override(), shipped_client=True)
    with pytest.raises(ValueTooLong):
        Order.asked("names", "v" * 201, Override(), shipped_client=False)
    with pytest.raises(DateNotReal):
        Order.asked("names", "Zoe", Override(voice_note_date="2023-02-29"), shipped_client=False)


def test_a_longer_text_is_expected_to_last_longer() -> None:
    short, long = (expected_seconds("x" * length, whole=True) for length in (80, 120))
    assert 5 < short < long < 12


def test_a_text_that_is_still_being_written_is_expected_to_be_a_usual_one() -> None:
    assert expected_seconds("x" * 40, whole=False) == expected_seconds("x" * 100, whole=True)
    assert expected_seconds("x" * 115, whole=False) == expected_seconds("x" * 115, whole=True)


@given(st.text(max_size=60), st.uuids())
def test_every_file_name_is_short_ascii_and_leads_back_to_its_recording(title: str, known: UUID) -> None:
    name = file_name(title, "2026-03-01", known)
    assert name.isascii()
    assert len(name) <= 128
    assert "/" not in name
    assert id_in_file_name(name) == known


@pytest.mark.parametrize(
    "name", ["", "x.mp3", "../../etc/passwd", f"{UUID(int=7)}.mp3", f"a-{UUID(int=7).hex}.wav"]
)
def test_names_that_are_none_of_ours_lead_nowhere(name: str) -> None:
    assert id_in_file_name(name) is None


@given(MOMENTS, MOMENTS, st.uuids(), st.uuids())
def test_places_sort_as_moments_do_and_page_tokens_keep_them(
    early: datetime, late: datetime, one: UUID, other: UUID
) -> None:
    if early < late:
        assert place(early, one) < place_at(late) < place(late, other)
    assert place_in_token(page_token(place(early, one))) == place(early, one)


@given(st.text(max_size=80))
def test_any_other_page_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        place_in_token(f"{token}!")
