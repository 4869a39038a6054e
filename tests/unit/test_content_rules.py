import unicodedata

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from services.content.domain import (
    LONGEST_VALUE,
    Brief,
    Routine,
    Rule,
    ValueNotSpeakable,
    ValueTooLong,
    characters,
    keeps_rules,
    mentions,
    normalise_value,
    repair,
    sentences,
    violations,
    words_around,
)
from services.content.lexicon import load_lexicon

LEXICON = load_lexicon()


def brief(value: str = "Leo", routine: Routine = Routine.CUSTOM, language: str = "en") -> Brief:
    return Brief(routine, value, language, routine.value, LEXICON.giveaways(routine, language))


def broken(text: str, about: Brief) -> set[Rule]:
    return {violation.rule for violation in violations(text, about, LEXICON)}


def padded(text: str) -> str:
    """The text made long enough by words that break no rule."""
    return text + " and it has been on my mind since the very first light came in through the window"


GOOD = "I woke up with the seven of hearts stuck in my head, and it just won't let go of me."


def test_a_calm_note_that_says_its_value_once_keeps_every_rule() -> None:
    assert broken(GOOD, brief("seven of hearts", Routine.CARDS)) == set()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("I dreamt of Leo.", Rule.LENGTH),
        (padded("I dreamt of Leo" + " again" * 12), Rule.LENGTH),
        (padded("I dreamt of a lion"), Rule.VALUE_MISSING),
        (padded("I dreamt of Leonard"), Rule.VALUE_MISSING),
        (padded("I dreamt of leo"), Rule.VALUE_MISSING),
        (padded("I dreamt of Leo, just Leo"), Rule.VALUE_REPEATED),
        (padded("I dreamt of Leo, yes leo"), Rule.VALUE_REPEATED),
        (padded("I woke up. I yawned. Then Leo"), Rule.SENTENCES),
        (
            "Soñé con Leo y no sé por qué, pero la verdad es que todavía no se me va de la cabeza.",
            Rule.LANGUAGE,
        ),
        (padded("I dreamt of Leo\n"), Rule.LINE_BREAK),
        (padded("- I dreamt of Leo"), Rule.LIST),
        (padded("1. I dreamt of Leo"), Rule.LIST),
        (padded("Voice note: I dreamt of Leo"), Rule.LABEL),
        (padded("I dreamt of “Leo”"), Rule.QUOTE),
        (padded("I dreamt of 'Leo'"), Rule.QUOTE),
        (padded("I dreamt of **Leo**"), Rule.MARKUP),
        (padded("I dreamt of Leo 🌞"), Rule.EMOJI),
        (padded("I dreamt of Leo 1️⃣"), Rule.EMOJI),
    ],
)
def test_each_broken_rule_is_named(text: str, rule: Rule) -> None:
    assert rule in broken(text, brief())


@pytest.mark.parametrize(
    ("routine", "language", "slip"),
    [
        (Routine.CARDS, "en", "card"),
        (Routine.CARDS, "en", "naipes"),
        (Routine.NUMBERS, "es", "NÚMERO"),
        (Routine.NUMBERS, "es", "numero"),
        (Routine.NUMBERS, "es", "number"),
        (Routine.STAR_SIGNS, "en", "sign"),
        (Routine.STAR_SIGNS, "es", "zodíaco"),
        (Routine.PHOBIAS, "es", "miedo"),
        (Routine.YEARS, "es", "año"),
        (Routine.NAMES, "en", "names"),
        (Routine.MOVIES, "es", "película"),
        (Routine.MOVIES, "fr", "cinéma"),
        (Routine.TEXT_INPUT, "en", "word"),
    ],
)
def test_a_topic_is_named_in_any_spelling_and_in_translation(
    routine: Routine, language: str, slip: str
) -> None:
    assert Rule.TOPIC_NAMED in broken(f"I dreamt of Leo, {slip}", brief("Leo", routine, language))


@pytest.mark.parametrize(
    ("routine", "value"),
    [
        (Routine.MOVIES, "Film Stars Don't Die"),
        (Routine.NUMBERS, "my number 7"),
        (Routine.CARDS, "Card Sharks"),
    ],
)
def test_the_values_own_words_do_not_name_the_topic(routine: Routine, value: str) -> None:
    assert broken(padded(f"I dreamt of {value}"), brief(value, routine)) == set()


@pytest.mark.parametrize(
    "value", ["Mr. Nobody", "What's Up, Doc?", "E.T.", "Help!", "“Heroes”", "M*A*S*H", "☕"]
)
def test_the_values_own_marks_count_for_no_rule(value: str) -> None:
    assert broken(padded(f"Early. I dreamt of {value}"), brief(value)) == set()


@pytest.mark.parametrize(
    ("text", "value", "times"),
    [
        ("the 7 on 17th Street at 7", "7", 2),
        ("mañana es otra cosa", "ana", 0),
        ("it's Leo's day", "Leo", 1),
        ("cafe\u0301", "cafe", 0),
        ("MARÍA", "María", 1),
        ("a . b .", ".", 2),
    ],
)
def test_a_value_inside_another_word_is_no_mention(text: str, value: str, times: int) -> None:
    assert mentions(text, value) == times


@given(st.lists(st.sampled_from(["a", "e\u0301", "👨‍👩‍👧", "🇪🇸", "각", "が", "क्षि"]), max_size=30))
def test_length_adds_up_by_grapheme(graphemes: list[str]) -> None:
    # Two flags in a row are two graphemes only when something stands between them.
    assert characters("-".join(graphemes)) == max(2 * len(graphemes) - 1, 0)


def test_length_is_counted_as_people_see_it() -> None:
    assert characters("e\u0301👨‍👩‍👧🇪🇸") == 3


@given(st.text(st.sampled_from("ab é’…—ß\r\n\u00ad\u0301\u200d猫👨🇪각")))
def test_plain_letters_are_counted_as_graphemes_are(text: str) -> None:
    assert characters(text) == len(regex.findall(r"\X", text))


@pytest.mark.parametrize(
    ("text", "value", "said", "loosely"),
    [
        ("it’s who’s there again", "Who's there", 0, 1),
        ("a  b and a b", "a  b", 1, 2),
        ("STRASSE, straße, Strassen", "straße", 2, 2),
        ("aa aaa", "aa", 1, 1),
        ("M*A*S*H and MASH", "M*A*S*H", 1, 1),
    ],
)
def test_a_value_is_known_as_typed_or_as_models_spell_it(
    text: str, value: str, said: int, loosely: int
) -> None:
    assert mentions(text, value) == said
    assert words_around(text, value, loosely=True).count("\N{OBJECT REPLACEMENT CHARACTER}") == loosely


@given(
    st.lists(
        st.sampled_from(
            ["I woke up", " with Leo", " on my mind", ". ", "*", '"', " thinking of my sign", " e "]
        )
    )
)
def test_a_text_keeps_the_rules_when_it_breaks_none(pieces: list[str]) -> None:
    text, about = "".join(pieces), brief(routine=Routine.STAR_SIGNS)
    for each in (text, padded(text)):
        assert keeps_rules(each, about, LEXICON) is (violations(each, about, LEXICON) == ())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One", 1),
        ("One. Two", 2),
        ("One... Two!?", 2),
        ("Hm... one still!?", 1),
        ("What? Yes. No!", 3),
        ("3.14 is fine.", 1),
        ("一。二。", 2),
    ],
)
def test_sentences_are_counted_by_their_ends(text: str, count: int) -> None:
    assert sentences(text) == count


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ('  "I dreamt of Leo."  ', "I dreamt of Leo."),
        ("Voice note: I dreamt of Leo.", "I dreamt of Leo."),
        ("- I dreamt\nof **Leo**  again 🌞", "I dreamt of Leo again"),
        ("I dreamt of “leo”.", "I dreamt of Leo."),
        ("That was Leo's idea, I don't know.", "That was Leo's idea, I don't know."),
    ],
)
def test_repair_puts_right_what_changes_no_word(text: str, repaired: str) -> None:
    assert repair(text, "Leo") == repaired


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("“What’s  Up, Doc?”", "What's Up, Doc?"),
        ("mission: impossible", "Mission: Impossible"),
        ("*Q*", "*Q*"),
    ],
)
def test_repair_restores_the_value_as_it_was_typed(said: str, value: str) -> None:
    assert repair(f"I dreamt of {said} again.", value) == f"I dreamt of {value} again."


@given(text=st.text(), value=st.text(min_size=1, max_size=20))
def test_repair_never_leaves_what_it_removes_and_is_stable(text: str, value: str) -> None:
    try:
        plain = normalise_value(value)
    except ValueNotSpeakable:
        return
    once = repair(text, plain)
    forms = {Rule.LINE_BREAK, Rule.QUOTE, Rule.MARKUP, Rule.EMOJI}
    assert not forms & broken(once, brief(plain))
    assert "\n" not in words_around(once, plain)
    assert repair(once, plain) == once


@given(
    words=st.text("aé日ー🌞 .", max_size=20),
    before=st.text("\"'*_-–•1.:( ", max_size=4),
    after=st.text("\"'*_) \n🌞", max_size=4),
)
def test_repair_never_glues_the_value_to_a_word(words: str, before: str, after: str) -> None:
    text = f"{words}{before} Leo {after}{words}"
    assert mentions(repair(text, "Leo"), "Leo") == mentions(text, "Leo")


@given(st.text(max_size=150))
def test_a_value_is_one_composed_line_or_refused(value: str) -> None:
    try:
        plain = normalise_value(value)
    except (ValueNotSpeakable, ValueTooLong):
        return
    assert plain == unicodedata.normalize("NFC", plain).strip()
    assert 0 < characters(plain) <= LONGEST_VALUE
    assert len(plain.splitlines()) == 1


@pytest.mark.parametrize("value", ["", "   ", "a\nb", "a\x00b", "\u200b", "\u0301", "a\u2028b"])
def test_a_value_that_cannot_be_said_is_refused(value: str) -> None:
    with pytest.raises(ValueNotSpeakable):
        normalise_value(value)


def test_a_value_that_leaves_no_room_for_a_note_is_refused_with_the_numbers() -> None:
    assert normalise_value("x" * LONGEST_VALUE)
    with pytest.raises(ValueTooLong, match=r"at most 100; this one has 101"):
        normalise_value("x" * (LONGEST_VALUE + 1))


@pytest.mark.parametrize(
    ("topic", "routine"),
    [
        ("movies", Routine.MOVIES),
        ("a movie", Routine.MOVIES),
        ("la película", Routine.MOVIES),
        ("star sign", Routine.STAR_SIGNS),
        ("favourite animals", Routine.CUSTOM),
        ("sign language", Routine.CUSTOM),
    ],
)
def test_a_free_topic_that_means_a_routine_is_written_like_one(topic: str, routine: Routine) -> None:
    assert LEXICON.routine_of(topic) is routine


def test_a_free_topics_own_words_give_it_away_in_singular_and_plural() -> None:
    assert {"animal", "animals"} <= LEXICON.significant("my animals")
    assert "my" not in LEXICON.significant("my animals")
