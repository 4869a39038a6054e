"""The offline composer keeps every rule by construction, for any value, and does not repeat itself."""

import unicodedata
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.content.domain import (
    Brief,
    LanguageNotWritten,
    Routine,
    ValueNotSpeakable,
    ValueTooLong,
    characters,
    fingerprint,
    normalise_value,
    violations,
    words_of,
)
from services.content.lexicon import load_lexicon
from services.content.models.offline import OfflineModel
from services.content.models.phrasebook import SLOT, load_phrasebooks

LEXICON = load_lexicon()
BOOKS = load_phrasebooks()
EVERYWHERE = [(routine, language) for routine in Routine for language in BOOKS]
TYPICAL = {
    Routine.CARDS: ("seven of hearts", "siete de corazones"),
    Routine.NUMBERS: ("7", "siete"),
    Routine.STAR_SIGNS: ("Leo", "Piscis"),
    Routine.TEXT_INPUT: ("purple elephant", "te quiero"),
    Routine.PHOBIAS: ("spiders", "las arañas"),
    Routine.YEARS: ("1987", "1987"),
    Routine.NAMES: ("Anna", "María José"),
    Routine.MOVIES: ("What's Up, Doc?", "El Padrino"),
    Routine.CUSTOM: ("a red balloon", "mi gato"),
}


def offline(seed: int = 1) -> OfflineModel:
    return OfflineModel(BOOKS, LEXICON, Random(seed))


def brief(routine: Routine, value: str, language: str, avoid: frozenset[str] = frozenset()) -> Brief:
    giveaways = LEXICON.giveaways(routine, language)
    return Brief(routine, value, language, routine.value, giveaways, avoid)


def pieces(routine: Routine, language: str) -> list[str]:
    return [
        piece
        for telling in BOOKS[language][routine].tellings
        for piece in (*telling.openings, *telling.cores, *telling.closings)
    ]


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
@pytest.mark.parametrize("length", [0, 30, 60])
async def test_two_hundred_notes_in_a_row_are_all_different(
    routine: Routine, language: str, length: int
) -> None:
    typical = TYPICAL[routine][language == "es"]
    value = typical if not length else "Zürich ".ljust(length, "z")
    model, given_lately = offline(), frozenset[str]()
    for _ in range(200):
        note = await model.compose(brief(routine, value, language, given_lately))
        assert fingerprint(note) not in given_lately
        assert 80 <= len(note) <= 120
        assert note.count(value) == 1
        given_lately |= {fingerprint(note)}


@settings(max_examples=400, deadline=None)
@given(
    value=st.text(min_size=1, max_size=60),
    where=st.sampled_from(EVERYWHERE),
    seed=st.integers(0, 9),
)
async def test_every_rule_is_kept_for_any_value(value: str, where: tuple[Routine, str], seed: int) -> None:
    try:
        plain = normalise_value(value)
    except ValueNotSpeakable:
        return
    about = brief(where[0], plain, where[1])
    note = await offline(seed).compose(about)
    assert violations(note, about, LEXICON) == ()
    assert unicodedata.normalize("NFC", value).strip() in note
    assert 80 <= characters(note) <= 120


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
async def test_any_length_up_to_a_hundred_fits(routine: Routine, language: str) -> None:
    model = offline()
    for length in range(1, 101):
        value = ("Zz" * 60)[:length]
        note = await model.compose(brief(routine, value, language))
        assert 80 <= len(note) <= 120
        assert note.count(value) == 1


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
async def test_a_value_may_be_any_word_that_the_phrasebook_itself_uses(
    routine: Routine, language: str
) -> None:
    model = offline()
    cores = " ".join(core for telling in BOOKS[language][routine].tellings for core in telling.cores)
    common = {"a", "I", "the", "y", "o", "e", "no", "que", ",", ".", "'", "-", "?", "¿"}
    for word in common | set(cores.replace(SLOT, " ").split()):
        about = brief(routine, word, language)
        assert violations(await model.compose(about), about, LEXICON) == ()


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
def test_no_piece_names_the_topic_or_holds_a_digit(routine: Routine, language: str) -> None:
    giveaways = LEXICON.giveaways(routine, language)
    for piece in pieces(routine, language):
        assert giveaways.isdisjoint(words_of(piece)), piece
        assert not any(letter.isdigit() for letter in piece), piece


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
def test_every_core_holds_its_value_once_and_never_first(routine: Routine, language: str) -> None:
    for telling in BOOKS[language][routine].tellings:
        for core in telling.cores:
            assert core.count(SLOT) == 1, core
            assert not core.startswith(SLOT), core


@pytest.mark.parametrize("value", ["Mr. Nobody", "What's Up, Doc?", "E.T."])
async def test_the_rest_stays_one_sentence_around_a_value_with_stops(value: str) -> None:
    model = offline()
    for _ in range(50):
        note = await model.compose(brief(Routine.MOVIES, value, "en"))
        assert ". " not in note.replace(value, "X")
        assert not note.endswith("..")


@pytest.mark.parametrize(
    ("routine", "language", "value", "said"),
    [
        (Routine.CARDS, "en", "seven of hearts", " the seven of hearts"),
        (Routine.CARDS, "en", "the seven of hearts", " the seven of hearts"),
        (Routine.CARDS, "es", "siete de corazones", " el siete de corazones"),
        (Routine.CARDS, "es", "Reina de picas", " la Reina de picas"),
        (Routine.NUMBERS, "es", "7", " el 7"),
        (Routine.NUMBERS, "es", "mi número 7", " mi número 7"),
    ],
)
async def test_a_bare_value_gets_the_article_that_speech_needs(
    routine: Routine, language: str, value: str, said: str
) -> None:
    model = offline()
    for _ in range(20):
        note = await model.compose(brief(routine, value, language))
        assert said in note
        assert "the the" not in note
        assert "el mi" not in note


async def test_the_same_chance_writes_the_same_note() -> None:
    about = brief(Routine.NAMES, "Anna", "en")
    assert await offline(7).compose(about) == await offline(7).compose(about)


async def test_a_note_is_repeated_only_when_no_other_can_be_made() -> None:
    model, value = offline(), "z" * 100
    made: set[str] = set()
    for _ in range(60):
        avoid = frozenset(fingerprint(note) for note in made)
        made.add(await model.compose(brief(Routine.CUSTOM, value, "en", avoid)))
    assert 5 < len(made) < 60


async def test_a_language_without_a_phrasebook_is_refused() -> None:
    with pytest.raises(LanguageNotWritten):
        await offline().compose(brief(Routine.CARDS, "sept de coeur", "fr"))


async def test_a_free_topics_words_stay_out_of_the_note() -> None:
    model = offline()
    giveaways = LEXICON.significant("kettles, coffee and dreams")
    about = Brief(Routine.CUSTOM, "elephant", "en", "kettles, coffee and dreams", giveaways)
    for _ in range(100):
        assert giveaways.isdisjoint(words_of(await model.compose(about)))


def test_a_value_beyond_a_hundred_characters_never_reaches_the_composer() -> None:
    with pytest.raises(ValueTooLong):
        normalise_value("z" * 101)
