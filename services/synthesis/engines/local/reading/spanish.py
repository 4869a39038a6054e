"""Spanish text to phonemes, as the model was taught them."""

import re
from functools import cache
from typing import Final

from services.synthesis.engines.local.reading.english_lexicon import EnglishLexicon
from services.synthesis.engines.local.reading.numerals import with_numbers_in_words
from services.synthesis.engines.local.reading.spanish_letters import sounds_of

_SUITS: Final = {
    "♠": "picas",
    "♤": "picas",
    "♥": "corazones",
    "♡": "corazones",
    "♦": "diamantes",
    "♢": "diamantes",
    "♣": "tréboles",
    "♧": "tréboles",
}
_RANKS: Final = {"A": "as", "K": "rey", "Q": "reina", "J": "jota", "T": "diez"}
_CARD: Final = re.compile(r"\b(10|[2-9AKQJT])\s?([♠♤♥♡♦♢♣♧])")
_ABBREVIATIONS: Final = {
    "sr.": "señor",
    "sra.": "señora",
    "srta.": "señorita",
    "dr.": "doctor",
    "dra.": "doctora",
    "d.": "don",
    "dña.": "doña",
    "ud.": "usted",
    "uds.": "ustedes",
    "vd.": "usted",
    "pág.": "página",
    "núm.": "número",
    "etc.": "etcétera",
    "p.ej.": "por ejemplo",
    "prof.": "profesor",
    "km": "kilómetros",
    "kg": "kilos",
    "cm": "centímetros",
    "av.": "avenida",
    "vs.": "contra",
    "a.m.": "de la mañana",
    "p.m.": "de la tarde",
}
_SYMBOLS: Final = {
    "&": " y ",
    "+": " más ",
    "@": " arroba ",
    "%": " por ciento ",
    "#": " número ",
    "=": " igual a ",
    "°": " grados ",
    "½": " y medio ",
    "¼": " y cuarto ",
    "¾": " y tres cuartos ",
    "×": " por ",
    "÷": " entre ",
    "/": " barra ",
    "♠": " picas ",
    "♤": " picas ",
    "♥": " corazones ",
    "♡": " corazones ",
    "♦": " diamantes ",
    "♢": " diamantes ",
    "♣": " tréboles ",
    "♧": " tréboles ",
    "º": " ",
    "ª": " ",
    "£": " libras ",
    "€": " euros ",
    "¥": " yenes ",
    "$": " dólares ",
    "_": " ",
    "¿": " ",
    "¡": " ",
}
_LETTERS: Final = dict(
    zip(
        "abcdefghijklmnñopqrstuvwxyz",
        """a be ce de e efe ge hache i jota ka ele eme ene eñe o pe cu erre ese te u uve uvedoble equis
        i·griega zeta""".replace("·", "").split(),
        strict=True,
    )
)
_TOKEN: Final = re.compile(r"[A-Za-záéíóúüñÁÉÍÓÚÜÑ]+(?:'[A-Za-z]+)?|\.\.\.|[.,;:!?—()]")
_UNSTRESSED: Final = frozenset(
    [
        "el",
        "la",
        "los",
        "las",
        "un",
        "una",
        "unos",
        "unas",
        "lo",
        "al",
        "del",
        "de",
        "a",
        "en",
        "y",
        "e",
        "o",
        "u",
        "ni",
        "que",
        "se",
        "me",
        "te",
        "le",
        "les",
        "nos",
        "os",
        "mi",
        "tu",
        "su",
        "mis",
        "tus",
        "sus",
        "con",
        "por",
        "para",
        "pero",
        "si",
        "sin",
        "como",
        "desde",
        "hasta",
        "entre",
        "sobre",
        "cuando",
        "donde",
        "aunque",
        "porque",
        "pues",
    ]
)
# Spellings that Spanish words do not have: what has one is read as English when English knows it.
_FOREIGN: Final = re.compile(
    r"[kw]|sh|th|ph|ck|oo|ee|ea[a-z]|([bdfgjmpstvz])\1|^s[bcdfgklmnpqtv]|[bcdfgkmpqtvwx]$|[^aeiouáéíóúü]{2}$|igh|'"
)
_MOST_LETTERS_OF_ACRONYM: Final = 5


def spanish_phonemes(text: str, *, distinguishes_z: bool = False) -> str:
    spoken: list[str] = []
    after_pause = True
    for token in _TOKEN.findall(_spelt_out(text)):
        if not token[0].isalpha():
            spoken.append("…" if token == "..." else token)  # noqa: S105 - a mark of punctuation.
            after_pause = True
            continue
        after_nasal = bool(spoken) and spoken[-1].endswith(("n", "m", "ŋ"))
        spoken.append(f" {_word(token, after_pause or after_nasal, distinguishes_z)}")
        after_pause = False
    return "".join(spoken).replace("( ", "(").strip()


def _word(word: str, hard_start: bool, distinguishes_z: bool) -> str:
    lower = word.lower()
    if _is_acronym(word):
        return "".join(
            sounds_of(_LETTERS[letter], distinguishes_z=distinguishes_z, stressed=last)
            for letter, last in zip(lower, [*[False] * (len(lower) - 1), True], strict=True)
            if letter in _LETTERS
        )
    if _FOREIGN.search(lower):
        english = _english().find(word)
        if english is not None:
            return english.replace("ɾ", "T").replace("ʔ", "t")
    stressed = lower not in _UNSTRESSED
    return sounds_of(lower, distinguishes_z=distinguishes_z, hard_start=hard_start, stressed=stressed)


def _spelt_out(text: str) -> str:
    text = _CARD.sub(lambda card: f"{_RANKS.get(card[1], card[1])} de {_SUITS[card[2]]}", text)
    text = " ".join(_abbreviated(word) for word in text.split())
    text = with_numbers_in_words(text, "es")
    text = re.sub(r"\bEE\.?\s?UU\.?", "Estados Unidos", text)
    for symbol, said in _SYMBOLS.items():
        text = text.replace(symbol, said)
    return text.replace(" - ", " — ")


def _abbreviated(word: str) -> str:
    bare = word.strip("\"'(),;:!?¿¡").lower()
    said = _ABBREVIATIONS.get(bare)
    return re.sub(re.escape(bare), said, word, flags=re.IGNORECASE) if said else word


def _is_acronym(word: str) -> bool:
    lower = word.lower()
    if not re.search(r"[aeiouáéíóúü]", lower) and lower != "y":
        return True
    if not word.isupper() or len(word) == 1:
        return False
    return len(word) <= _MOST_LETTERS_OF_ACRONYM and not re.fullmatch(
        r"(?:(?:[bcfgp]l|[bcdfgpt]r|[bcdfghjklmnñpqrstvxyz])?[aeiouáéíóúü]{1,2}[lnrsz]?)+", lower
    )


@cache
def _english() -> EnglishLexicon:
    return EnglishLexicon()
