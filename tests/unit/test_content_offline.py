"""The offline composer keeps every rule by construction, for any value, and does not repeat itself."""

import re
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
    names_topic,
    normalise_value,
    repair,
    violations,
    words_of,
)
from services.content.lexicon import load_lexicon
from services.content.models.offline import OfflineModel
from services.content.models.phrasebook import SLOT, load_phrasebooks

LEXICON = load_lexicon()
BOOKS = load_phrasebooks()
EVERYWHERE = [(routine, language) for routine in Routine for language in BOOKS]
# By language: a value as it would be typed for each routine type.
TYPICAL = {
    "en": (
        "seven of hearts",
        "7",
        "Leo",
        "purple elephant",
        "spiders",
        "1987",
        "Anna",
        "What's Up, Doc?",
        "a red balloon",
    ),
    "es": (
        "siete de corazones",
        "siete",
        "Piscis",
        "te quiero",
        "las arañas",
        "1987",
        "María José",
        "El Padrino",
        "mi gato",
    ),
    "fr": (
        "as de pique",
        "sept",
        "Lion",
        "je t'aime",
        "les araignées",
        "1987",
        "Zoé",
        "Le Parrain",
        "mon chat",
    ),
    "de": (
        "Herz Sieben",
        "7",
        "Löwe",
        "ich liebe dich",
        "Spinnen",
        "1987",
        "Jürgen",
        "Der Pate",
        "mein Kater",
    ),
    "it": (
        "asso di picche",
        "8",
        "Leone",
        "ti amo",
        "i ragni",
        "1987",
        "Niccolò",
        "Il padrino",
        "il mio gatto",
    ),
    "pt": (
        "sete de copas",
        "sete",
        "Leão",
        "te amo",
        "aranhas",
        "1987",
        "João",
        "Cidade de Deus",
        "um balão",
    ),
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


async def in_a_row(count: int, routine: Routine, value: str, language: str) -> set[str]:
    """Notes that were each told which ones had been given before."""
    model, given_lately = offline(), dict[str, str]()
    for _ in range(count):
        note = await model.compose(brief(routine, value, language, frozenset(given_lately)))
        assert fingerprint(note) not in given_lately
        assert 80 <= len(note) <= 120
        assert note.count(value) == 1
        given_lately[fingerprint(note)] = note
    return set(given_lately.values())


@pytest.mark.parametrize(("routine", "language"), list(zip(Routine, [*BOOKS, *BOOKS], strict=False)))
async def test_two_hundred_notes_in_a_row_are_all_different(routine: Routine, language: str) -> None:
    value = TYPICAL[language][list(Routine).index(routine)]
    assert len(await in_a_row(200, routine, value, language)) == 200


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
async def test_short_and_long_values_are_told_in_many_ways(routine: Routine, language: str) -> None:
    for value in (TYPICAL[language][list(Routine).index(routine)], "Zürich ".ljust(60, "z")):
        notes = await in_a_row(25, routine, value, language)
        about = brief(routine, value, language)
        assert [note for note in notes if violations(note, about, LEXICON)] == []


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
    assert repair(note, plain) == note
    assert unicodedata.normalize("NFC", value).strip() in note
    assert 80 <= characters(note) <= 120


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
async def test_any_length_up_to_a_hundred_fits(routine: Routine, language: str) -> None:
    model = offline()
    for length in {*range(1, 101, 6), 99, 100}:
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
    for word in common | set(sorted(set(cores.replace(SLOT, " ").split()))[::4]):
        about = brief(routine, word, language)
        assert violations(await model.compose(about), about, LEXICON) == ()


@pytest.mark.parametrize(("routine", "language"), EVERYWHERE)
def test_no_piece_names_the_topic_or_holds_a_digit(routine: Routine, language: str) -> None:
    giveaways = LEXICON.giveaways(routine, language)
    for piece in pieces(routine, language):
        assert names_topic(piece.replace(SLOT, " "), giveaways) == [], piece
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
        (Routine.CARDS, "fr", "as de pique", " l'as de pique"),
        (Routine.CARDS, "fr", "Dame de cœur", " la Dame de cœur"),
        (Routine.NUMBERS, "fr", "onze", " le onze"),
        (Routine.CARDS, "de", "Herz Sieben", " Herz Sieben"),
        (Routine.NUMBERS, "de", "7", " die 7"),
        (Routine.CARDS, "it", "asso di picche", " l'asso di picche"),
        (Routine.NUMBERS, "it", "8", " l'8"),
        (Routine.NUMBERS, "it", "zero", " lo zero"),
        (Routine.YEARS, "it", "1987", " il 1987"),
        (Routine.CARDS, "pt", "dama de copas", " a dama de copas"),
        (Routine.NUMBERS, "pt", "7", " o 7"),
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


@pytest.mark.parametrize("routine", Routine)
def test_every_language_has_as_many_pieces_as_spanish(routine: Routine) -> None:
    def ways(language: str) -> int:
        tellings = BOOKS[language][routine].tellings
        return sum(len(t.openings) * len(t.cores) * len(t.closings) for t in tellings)

    assert {language: ways(language) for language in BOOKS if ways(language) < ways("es")} == {}


# What the speaker's sex would change, in the languages where it changes words.
GENDERED = {
    "es": r"\b(cansad|dormid|despiert|acostad|sentad|content)[oa]\b",
    "fr": r"\b(réveillée?|endormie?|fatiguée?|assise?|contente?|couchée?)\b",
    "it": r"\b(svegliat|addormentat|stanc|content|sedut|alzat|sdraiat)[oa]\b",
    "pt": r"\b(cansad|acordad|deitad|sentad|quiet|sozinh|content|obrigad)[oa]\b",
}


@pytest.mark.parametrize("language", GENDERED)
def test_the_speaker_may_be_anyone(language: str) -> None:
    for routine in Routine:
        for piece in pieces(routine, language):
            assert not re.search(GENDERED[language], piece), piece


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
        await offline().compose(brief(Routine.CARDS, "туз пик", "ru"))


async def test_a_free_topics_words_stay_out_of_the_note() -> None:
    model = offline()
    giveaways = LEXICON.significant("kettles, coffee and dreams")
    about = Brief(Routine.CUSTOM, "elephant", "en", "kettles, coffee and dreams", giveaways)
    for _ in range(100):
        assert giveaways.isdisjoint(words_of(await model.compose(about)))


def test_a_value_beyond_a_hundred_characters_never_reaches_the_composer() -> None:
    with pytest.raises(ValueTooLong):
        normalise_value("z" * 101)
