import importlib.resources
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.reading.english_letters import sounds_of
from services.synthesis.engines.local.reading.english_lexicon import VOWELS

VOCABULARY = set(
    json.loads(
        (importlib.resources.files("services.synthesis.engines.local") / "data" / "vocab.json").read_text(
            "utf-8"
        )
    )
)


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("the queen of hearts", "ðə kwˈin ʌv hˈɑɹts,"),
        ("the apple and an egg.", "ði ˈæpᵊl ænd ɐn ˈɛɡ."),
        ("to eat, to see, where to?", "tʊ ˈit, tə sˈi, wˌɛɹ tu?"),
        ("I read it. I have read it.", "ˌI ɹˈid ɪt. ˌI hæv ɹˈɛd ɪt."),
        ("dreamt dogs' walking-sticks", "dɹˈɛmt dˈɔɡz wˈɔkɪŋ stˈɪks,"),
        ("Mr. Smith vs. Dr. Jones", "mˈɪstəɹ smˈɪθ vˈɜɹsəs dˈɑktəɹ ʤˈOnz,"),
        ("better", "bˈɛTəɹ,"),
    ],
)
def test_text_is_read_as_the_model_was_taught(text: str, phonemes: str) -> None:
    assert phonemes_of(text, "en") == phonemes


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Q♥", "queen of hearts"),
        ("10♠", "ten of spades"),
        ("A ♦", "ace of diamonds"),
        ("7 & 8", "seven and eight"),
        ("50%", "fifty percent"),
        ("e.g. tea", "for example tea"),
        ("café", "cafe"),
        ("No. 5", "number five"),
    ],
)
def test_signs_are_read_as_words(written: str, said: str) -> None:
    assert phonemes_of(written, "en").lower() == phonemes_of(said, "en").lower()


@pytest.mark.parametrize("acronym", ["FBI", "BBC", "F.B.I.", "XKCD"])
def test_an_acronym_is_read_letter_by_letter(acronym: str) -> None:
    letters = [letter for letter in acronym if letter.isalpha()]
    sounds = phonemes_of(acronym, "en")
    assert sum(sound in VOWELS for sound in sounds) >= len(letters)


@pytest.mark.parametrize(
    "name", ["Zendaya", "Xochitl", "Szczesny", "Brontophobia", "Kvothe", "Nguyen", "Rhys"]
)
def test_a_name_in_no_dictionary_has_a_vowel_and_one_stress(name: str) -> None:
    sounds = sounds_of(name)
    assert any(sound in VOWELS for sound in sounds)
    assert sounds.count("ˈ") == 1


def test_names_in_other_scripts_are_said() -> None:
    assert phonemes_of("Москва", "en") == phonemes_of("Moskva", "en")
    assert phonemes_of("さくら", "en") == phonemes_of("sakura", "en")
    assert phonemes_of("Ἀθήνα", "en") == phonemes_of("Athina", "en")


def test_a_text_without_a_word_has_no_phonemes() -> None:
    assert phonemes_of("🎉 ... !", "en") == ""


@given(st.lists(st.text(st.characters(codec="ascii", categories=["Ll", "Lu"]), min_size=1), min_size=1))
@settings(deadline=None)
def test_no_word_is_ever_dropped(words: list[str]) -> None:
    # A comma after each word keeps them apart whatever is said.
    spoken = phonemes_of(", ".join(words) + ".", "en").split(", ")
    assert len(spoken) == len(words)
    assert all(any(sound.isalpha() for sound in word) for word in spoken)


@given(st.text(), st.sampled_from(["en", "es", "es-es", "es-mx"]))
@settings(deadline=None)
def test_any_text_becomes_phonemes_that_the_model_knows(text: str, language: str) -> None:
    assert set(phonemes_of(text, language)) <= VOCABULARY
