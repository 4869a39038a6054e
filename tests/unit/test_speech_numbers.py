import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesis.engines.local.reading.numerals import with_numbers_in_words


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("7", "seven"),
        ("42", "forty two"),
        ("in 1987", "in nineteen eighty seven"),
        ("in 2003", "in two thousand and three"),
        ("1,234", "one thousand two hundred and thirty four"),
        ("3.14", "three point one four"),
        ("0.5", "zero point five"),
        ("the 3rd", "the third"),
        ("21st", "twenty first"),
        ("the 1990s", "the nineteen nineties"),
        ("$3.50", "three dollars and fifty cents"),
        ("$1", "one dollar"),
        ("7:30", "seven thirty"),
        ("7:05", "seven oh five"),
        ("9:00", "nine o'clock"),
        ("-4", "minus four"),
        ("007", "zero zero seven"),
        ("4K", "four K"),
    ],
)
def test_english_numbers(written: str, said: str) -> None:
    assert " ".join(with_numbers_in_words(written, "en").split()) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("7", "siete"),
        ("1987", "mil novecientos ochenta y siete"),
        ("1.234", "mil doscientos treinta y cuatro"),
        ("3,14", "tres coma catorce"),
        ("3,05", "tres coma cero cinco"),
        ("el 3º", "el tercero"),
        ("la 2ª", "la segunda"),
        ("el 1er día", "el primer día"),
        ("3,50 €", "tres euros con cincuenta céntimos"),
        ("1 €", "un euro"),
        ("7:30", "siete y treinta"),
        ("1:00", "una"),
        ("-4", "menos cuatro"),
    ],
)
def test_spanish_numbers(written: str, said: str) -> None:
    assert " ".join(with_numbers_in_words(written, "es").split()) == said


@given(st.text("0123456789.,:$€%- stndª", max_size=30), st.sampled_from(["en", "es"]))
def test_no_digit_is_left(text: str, language: str) -> None:
    assert not any(character.isdigit() for character in with_numbers_in_words(text, language))


@given(st.integers(0, 10**15), st.sampled_from(["en", "es"]))
def test_every_whole_number_has_words(number: int, language: str) -> None:
    assert with_numbers_in_words(str(number), language).strip()
