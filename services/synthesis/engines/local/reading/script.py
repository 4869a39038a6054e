"""Bring any text to Latin letters, digits and plain marks, so that names in other scripts can be said."""

import unicodedata
from functools import lru_cache
from typing import Final

_LIKE_LATIN: Final = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ł": "l",
        "Ł": "L",
        "þ": "th",
        "Þ": "Th",
        "ð": "th",
        "Ð": "Th",
        "ı": "i",
        "ħ": "h",
        "Ħ": "H",
    }
)
_CYRILLIC: Final = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґў",
        [
            "a",
            "b",
            "v",
            "g",
            "d",
            "e",
            "yo",
            "zh",
            "z",
            "i",
            "y",
            "k",
            "l",
            "m",
            "n",
            "o",
            "p",
            "r",
            "s",
            "t",
            "u",
            "f",
            "kh",
            "ts",
            "ch",
            "sh",
            "shch",
            "_",
            "i",
            "_",
            "e",
            "yu",
            "ya",
            "i",
            "yi",
            "ye",
            "g",
            "w",
        ],
        strict=True,
    )
)
_GREEK: Final = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        [
            "a",
            "v",
            "g",
            "d",
            "e",
            "z",
            "i",
            "th",
            "i",
            "k",
            "l",
            "m",
            "n",
            "x",
            "o",
            "p",
            "r",
            "s",
            "s",
            "t",
            "i",
            "f",
            "ch",
            "ps",
            "o",
        ],
        strict=True,
    )
)
# Consonant skeletons: readers of these scripts supply the vowels, so does the letter-to-sound fallback.
_ARABIC: Final = dict(
    zip(
        "ابتثجحخدذرزسشصضطظعغفقكلمنهويىةءأإآؤئپچژکگی",
        [
            "a",
            "b",
            "t",
            "th",
            "j",
            "h",
            "kh",
            "d",
            "th",
            "r",
            "z",
            "s",
            "sh",
            "s",
            "d",
            "t",
            "z",
            "a",
            "gh",
            "f",
            "q",
            "k",
            "l",
            "m",
            "n",
            "h",
            "w",
            "i",
            "a",
            "a",
            "_",
            "a",
            "i",
            "a",
            "u",
            "i",
            "p",
            "ch",
            "zh",
            "k",
            "g",
            "i",
        ],
        strict=True,
    )
)
_HEBREW: Final = dict(
    zip(
        "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
        [
            "a",
            "b",
            "g",
            "d",
            "h",
            "v",
            "z",
            "ch",
            "t",
            "i",
            "k",
            "k",
            "l",
            "m",
            "m",
            "n",
            "n",
            "s",
            "a",
            "f",
            "p",
            "ts",
            "ts",
            "k",
            "r",
            "sh",
            "t",
        ],
        strict=True,
    )
)
_SPELT: Final = {
    letter: "" if spelling == "_" else spelling
    for letter, spelling in (_CYRILLIC | _GREEK | _ARABIC | _HEBREW).items()
}
_MARKS: Final = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "`": "'",
        "´": "'",
        "ʼ": "'",
        "“": '"',
        "”": '"',
        "„": '"',
        "«": '"',
        "»": '"',
        "–": "—",
        "−": "-",
        "‐": "-",
        "‑": "-",
        "。": ".",
        "、": ",",
        "，": ",",
        "！": "!",
        "？": "?",
        "；": ";",
        "：": ":",
        "؟": "?",
        "،": ",",
        "…": "...",
    }
)
# Kept because they mean something to one of the two languages.
_KEPT_ACCENTED: Final = frozenset("áéíóúüñÁÉÍÓÚÜÑ")
_KEPT_SYMBOLS: Final = frozenset("♠♥♦♣♤♡♢♧°ºª½¼¾£€¥×÷—")


def in_latin_letters(text: str) -> str:
    """Never fails and never joins two words; what has no reading becomes a space."""
    marked = unicodedata.normalize("NFC", text).translate(_MARKS)
    return " ".join("".join(readable(character) for character in marked).split())


@lru_cache(maxsize=4096)
def readable(character: str) -> str:
    """A space for what has no reading."""
    if character.isascii():
        return character if character.isprintable() else " "
    if character in _KEPT_ACCENTED or character in _KEPT_SYMBOLS:
        return character
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        # Accents and joiners that stand alone belong to the letter before.
        return ""
    latin = _without_accents(unicodedata.normalize("NFKD", character).translate(_LIKE_LATIN))
    if latin.isascii() and latin.strip():
        return latin
    # A fraction may stand close behind a whole number.
    return f" {latin.replace('⁄', '/')}" if "⁄" in latin else _transcribed(character)


def _without_accents(decomposed: str) -> str:
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))


def _transcribed(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    for form in (character, _without_accents(unicodedata.normalize("NFD", character))):
        if form.lower() in _SPELT:
            return _SPELT[form.lower()]
    # Kana, Hangul and Indic letters are named by their sound: "HIRAGANA LETTER KA".
    name = unicodedata.name(character, "").split(" ")
    if len(name) > 2 and name[-2] in ("LETTER", "SYLLABLE", "SMALL", "CHARACTER", "SIGN"):
        return name[-1].lower() if name[-1].isalpha() else " "
    return " "
