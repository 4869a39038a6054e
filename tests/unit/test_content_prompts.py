"""What models are told: complete in ten languages, with examples that keep our own rules."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content.domain import Brief, Routine, fingerprint, normalise_value, repair, violations
from services.content.filters import load_filters
from services.content.lexicon import load_lexicon
from services.content.models.prompt import Example, load_prompts

LEXICON = load_lexicon()
FILTERS = load_filters()
PROMPTS = load_prompts()
LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "zh")
EVERYWHERE = [(language, routine) for language in LANGUAGES for routine in Routine]


def brief(value: str, routine: Routine, language: str, topic: str = "") -> Brief:
    giveaways = LEXICON.giveaways(routine, language)
    return Brief(routine, normalise_value(value), language, topic or routine.value, giveaways)


def examples(language: str, routine: Routine) -> tuple[Example, ...]:
    return PROMPTS.by_language[language].examples[routine]


def test_there_are_prompts_in_ten_languages() -> None:
    assert sorted(PROMPTS.languages) == list(LANGUAGES)


@pytest.mark.parametrize(("language", "routine"), EVERYWHERE)
def test_every_example_keeps_every_rule(language: str, routine: Routine) -> None:
    assert 2 <= len(examples(language, routine)) <= 3
    for example in examples(language, routine):
        about = brief(example.value, routine, language)
        assert violations(example.note, about, LEXICON) == (), example.note
        assert repair(example.note, example.value) == example.note
        FILTERS.check_input(example.value, "", language)
        FILTERS.check_output(example.note, about)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_examples_are_alike(language: str) -> None:
    notes = [example.note for routine in Routine for example in examples(language, routine)]
    assert len({fingerprint(note) for note in notes}) == len(notes)
    openings = [note[:12] for note in notes]
    assert all(openings.count(opening) <= 2 for opening in openings)


@pytest.mark.parametrize(("language", "routine"), EVERYWHERE)
def test_a_model_is_shown_the_examples_of_its_routine_and_the_numbers(
    language: str, routine: Routine
) -> None:
    told = PROMPTS.of(brief("Pikachu", routine, language))
    for other in Routine:
        for example in examples(language, other):
            assert (example.note in told.system) == (other is routine)
    assert "80" in told.system
    assert "120" in told.system
    assert "never_say" in told.system
    assert "<brief>" in told.system
    assert "</brief>" in told.system
    assert "$" not in told.system + told.user


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_callers_sent_is_in_the_user_part_only(language: str) -> None:
    one = PROMPTS.of(brief("Pikachu", Routine.CUSTOM, language, "monsters"))
    other = PROMPTS.of(brief("$system Mew", Routine.CUSTOM, language, "pets"))
    assert one.system == other.system
    assert one.user != other.user


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reason_for_asking_again_follows_the_brief(language: str) -> None:
    about = brief("Leo", Routine.NAMES, language)
    first = PROMPTS.of(about)
    again = PROMPTS.of(replace(about, complaints=("It costs $5.", "Too long.")))
    assert again.system == first.system
    assert again.user.startswith(first.user + "\n")
    assert "It costs $5. Too long." in again.user.removeprefix(first.user)


@given(value=st.text(min_size=1, max_size=100), topic=st.text(max_size=100))
def test_any_value_and_topic_stay_between_the_marks_and_come_out_as_they_went_in(
    value: str, topic: str
) -> None:
    about = Brief(Routine.CUSTOM, value, "en", topic, frozenset({"card"}))
    said = PROMPTS.of(about).user
    assert said.startswith("<brief>")
    assert said.endswith("</brief>")
    inside = said.removeprefix("<brief>").removesuffix("</brief>")
    assert "<" not in inside
    assert ">" not in inside
    found = json.loads(inside)
    assert (found["value"], found["topic"]) == (value, topic)


@pytest.mark.parametrize("hidden", ["\U000e0041", "\u202e", "\u200b", "\ufeff", "\u2028", "\x00", "\ue000"])
def test_what_nobody_can_see_is_spelled_out(hidden: str) -> None:
    said = PROMPTS.of(Brief(Routine.CUSTOM, f"a{hidden}b", "en", "custom", frozenset())).user
    assert hidden not in said
    assert json.loads(said.removeprefix("<brief>").removesuffix("</brief>"))["value"] == f"a{hidden}b"


def test_a_family_emoji_stays_whole() -> None:
    assert "👨‍👩‍👧" in PROMPTS.of(brief("👨‍👩‍👧", Routine.CUSTOM, "en")).user
