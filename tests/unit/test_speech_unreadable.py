"""What the embedded voice refuses rather than leaves out, and what it says or passes over."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesis.engines.local.reading import phonemes_of, unreadable


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("I kept thinking of 三国 all day.", "三国"),
        ("Pensaba en 東京タワー.", "東京"),
        ("It was กบ, of all things.", "กบ"),
        ("The sign was ∞.", "∞"),
        ("All I saw was a ★", "★"),
        ("★★★", "★★★"),
        ("First\n□", "□"),
        ("〇 of them", "〇"),
    ],
)
def test_a_word_a_number_or_a_lonely_sign_without_a_reading_is_found(text: str, lost: str) -> None:
    assert unreadable(text) == lost


@pytest.mark.parametrize(
    "text",
    [
        "Good morning 🎉 — “quite” a day… ❤️ ☀️ ✨ 👩‍👩‍👧",
        "Tea & toast ♥ at 7:30 (no sugar!) – 50 % off, 5° out, £3.20 + tip = fine",
        "¿Qué tal? ¡Vamos! La reina ♥ de corazones, 1.º, 2.ª, ½ litro",
        "home → work ♪ la la ♫ ✓ done • and • so on",
        "● milk\n★ bread\n- salt",
        "Hawaiʻi, コーヒー, Ελλάδα, Москва, شكرا, ایران, שלום, 서울, नमस्ते, naïve, Łódź, straße",
        "No. ① of Ⅳ, x², ⅓ cup, №5, ½, 100₽, ٣ and ७, ﬁne, ™",
        "*** <3 ~ | ^ \\ -- __ #1",
        "",
    ],
)
def test_ordinary_notes_lose_nothing(text: str) -> None:
    assert unreadable(text) == ""


@given(st.text(st.sampled_from(string.printable)))
def test_what_a_plain_keyboard_types_is_never_refused(text: str) -> None:
    assert unreadable(text) == ""


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("written", "read"), [("٣٧", "37"), ("۳۷", "37"), ("३७", "37"), ("２７", "27"), ("2⅓", "2 1/3")]
)
def test_numbers_of_other_scripts_are_read(written: str, read: str, language: str) -> None:
    assert phonemes_of(f"I said {written}.", language) == phonemes_of(f"I said {read}.", language)
