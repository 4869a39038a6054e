import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.reading.spanish_letters import sounds_of


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("guerra", "ɡˈera"),
        ("cigüeña", "siɣwˈeɲa"),
        ("queso", "kˈeso"),
        ("hueso", "wˈeso"),
        ("país", "paˈis"),
        ("ciudad", "sjuðˈað"),
        ("reina", "rˈeina"),
        ("muy", "mwˈi"),
        ("ley", "lˈei"),
        ("desayuno", "desaʝˈuno"),
        ("lluvia", "ʝˈuβja"),
        ("chico", "ʧˈiko"),
        ("gente", "xˈente"),
        ("jamón", "xamˈon"),
        ("perro", "pˈero"),
        ("pero", "pˈeɾo"),
        ("enrique", "enrˈike"),
        ("banco", "bˈaŋko"),
        ("once", "ˈonse"),
        ("méxico", "mˈexiko"),
        ("examen", "eksˈamen"),
        ("teatro", "teˈatɾo"),
        ("ahora", "aˈoɾa"),
        ("volver", "bolβˈeɾ"),
        ("corazones", "koɾasˈones"),
        ("árbol", "ˈaɾβol"),
    ],
)
def test_the_spelling_says_how_a_word_sounds(word: str, sounds: str) -> None:
    assert sounds_of(word) == sounds


def test_spain_tells_z_from_s_and_the_others_do_not() -> None:
    assert phonemes_of("corazón", "es-es") == "koɾaθˈon,"
    assert phonemes_of("corazón", "es") == phonemes_of("corazón", "es-mx") == "koɾasˈon,"


def test_small_words_carry_no_stress_and_soften_after_a_vowel() -> None:
    assert phonemes_of("la reina de corazones", "es") == "la rˈeina ðe koɾasˈones,"
    assert phonemes_of("un gato, gato", "es") == "un ɡˈato, ɡˈato,"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Q♥", "reina de corazones"),
        ("El Sr. García", "el señor garcía"),
        ("50 %", "cincuenta por ciento"),
        ("EE. UU.", "Estados Unidos"),
    ],
)
def test_signs_are_read_as_words(written: str, said: str) -> None:
    assert phonemes_of(written, "es").rstrip(",.") == phonemes_of(said, "es").rstrip(",")


@pytest.mark.parametrize(("acronym", "sounds"), [("FBI", "efebeˈi,"), ("DVD", "deuβedˈe,"), ("ONU", "ˈonu,")])
def test_an_acronym_is_spelt_unless_it_can_be_said(acronym: str, sounds: str) -> None:
    assert phonemes_of(acronym, "es") == sounds


def test_an_english_name_is_read_in_english() -> None:
    assert phonemes_of("Brad Pitt", "es").endswith("pˈɪt,")


@given(
    st.text("abcdefghijklmnñopqrstuvwxyzáéíóúü", min_size=1, max_size=20).filter(
        lambda w: set(w) & set("aeiou")
    )
)
def test_every_word_with_a_vowel_has_exactly_one_stress(word: str) -> None:
    assert sounds_of(word).count("ˈ") == 1
    assert "ˈ" not in sounds_of(word, stressed=False)
