"""English text to American phonemes, with the weak forms and the numbers of connected speech."""

import re
from functools import cache
from typing import Final

from services.synthesis.engines.local.reading.english_lexicon import VOWELS, EnglishLexicon, emphasised
from services.synthesis.engines.local.reading.numerals import with_numbers_in_words

_SUITS: Final = {
    "♠": "spades",
    "♤": "spades",
    "♥": "hearts",
    "♡": "hearts",
    "♦": "diamonds",
    "♢": "diamonds",
    "♣": "clubs",
    "♧": "clubs",
}
_RANKS: Final = {"A": "ace", "K": "king", "Q": "queen", "J": "jack", "T": "ten"}
_CARD: Final = re.compile(r"\b(10|[2-9AKQJT])\s?([♠♤♥♡♦♢♣♧])")
_ABBREVIATIONS: Final = {
    "mr.": "mister",
    "mrs.": "missus",
    "ms.": "miz",
    "dr.": "doctor",
    "st.": "saint",
    "prof.": "professor",
    "jr.": "junior",
    "sr.": "senior",
    "vs.": "versus",
    "vs": "versus",
    "etc.": "et cetera",
    "e.g.": "for example",
    "i.e.": "that is",
    "no.": "number",
    "approx.": "approximately",
    "min.": "minutes",
    "sec.": "seconds",
    "jan.": "january",
    "feb.": "february",
    "aug.": "august",
    "sept.": "september",
    "sep.": "september",
    "oct.": "october",
    "nov.": "november",
    "dec.": "december",
    "ft.": "feet",
    "vol.": "volume",
    "km": "kilometers",
    "kg": "kilograms",
    "cm": "centimeters",
    "w/": "with",
}
# These are words of their own without a number before or after them.
_ONLY_BY_A_NUMBER: Final = frozenset({"no.", "min.", "sec.", "ft.", "vol.", "km", "kg", "cm"})
_SYMBOLS: Final = {
    "&": " and ",
    "+": " plus ",
    "@": " at ",
    "%": " percent ",
    "#": " number ",
    "=": " equals ",
    "°": " degrees ",
    "½": " and a half ",
    "¼": " and a quarter ",
    "¾": " and three quarters ",
    "×": " times ",
    "÷": " divided by ",
    "/": " slash ",
    "♠": " spades ",
    "♤": " spades ",
    "♥": " hearts ",
    "♡": " hearts ",
    "♦": " diamonds ",
    "♢": " diamonds ",
    "♣": " clubs ",
    "♧": " clubs ",
    "º": " ",
    "ª": " ",
    "£": " pounds ",
    "€": " euros ",
    "¥": " yen ",
    "$": " dollars ",
    "_": " ",
}
_ACCENTED: Final = str.maketrans("áéíóúüñÁÉÍÓÚÜÑ", "aeiouunAEIOUUN")
_DOTTED_LETTERS: Final = re.compile(r"\b(?:[A-Za-z]\.){2,}")
_TOKEN: Final = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*'?|\.\.\.|[.,;:!?—()]")
_JOINED_CAPITALS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DETERMINERS: Final = frozenset(
    ["a", "an", "the", "my", "your", "his", "her", "its", "our", "their", "this", "that", "no", "some", "any"]
)
_BEFORE_VERBS: Final = frozenset(
    [
        "to",
        "i",
        "you",
        "we",
        "they",
        "will",
        "would",
        "can",
        "could",
        "should",
        "shall",
        "may",
        "might",
        "must",
        "do",
        "does",
        "did",
        "don't",
        "didn't",
        "not",
    ]
)
_PERFECT: Final = frozenset(
    [
        "have",
        "has",
        "had",
        "having",
        "i've",
        "you've",
        "we've",
        "they've",
        "be",
        "been",
        "was",
        "were",
        "is",
        "are",
    ]
)


def english_phonemes(text: str) -> str:
    words = _TOKEN.findall(_spelt_out(text))
    spoken: list[str] = []
    # From the end, because "the", "a" and "to" listen to what follows them.
    following = ""
    for index in range(len(words) - 1, -1, -1):
        phonemes = _word(words, index, following)
        spoken.append(phonemes)
        following = phonemes or following
    joined = "".join(
        phonemes if phonemes in ".,;:!?…)" else f" {phonemes}" for phonemes in reversed(spoken) if phonemes
    )
    # The model writes the American flap as T and has no glottal stop.
    return joined.replace("( ", "(").strip().replace("ɾ", "T").replace("ʔ", "t")


def _spelt_out(text: str) -> str:
    """Cards, abbreviations, numbers and symbols as words."""
    text = _CARD.sub(lambda card: f"{_RANKS.get(card[1], card[1])} of {_SUITS[card[2]]}", text)
    text = text.translate(_ACCENTED)
    words = text.split()
    text = " ".join(_abbreviated(words, index) for index in range(len(words)))
    text = _DOTTED_LETTERS.sub(lambda found: found[0].replace(".", "").upper() + " ", text)
    text = with_numbers_in_words(text, "en")
    for symbol, said in _SYMBOLS.items():
        text = text.replace(symbol, said)
    return _JOINED_CAPITALS.sub(" ", text).replace(" - ", " — ")


def _abbreviated(words: list[str], index: int) -> str:
    word = words[index]
    bare = word.strip("\"'(),;:!?").lower()
    if bare not in _ABBREVIATIONS:
        return word
    beside = (words[index - 1] if index else "") + (words[index + 1] if index + 1 < len(words) else "")
    if bare in _ONLY_BY_A_NUMBER and not any(character.isdigit() for character in beside):
        return word
    said = re.sub(re.escape(bare), _ABBREVIATIONS[bare], word, flags=re.IGNORECASE)
    # The full stop of the last word also ends the sentence.
    return said + "." if bare.endswith(".") and index == len(words) - 1 else said


def _word(words: list[str], index: int, following: str) -> str:
    word = words[index]
    if not word[0].isalpha():
        return "…" if word == "..." else word
    weak = _weak_form(word, following)
    if weak is not None:
        return weak
    previous = words[index - 1].lower() if index else ""
    phonemes = _lexicon().say(word.rstrip("'") or word, _part_of_speech(previous, following))
    if word.isupper() and len(word) > 1:
        return emphasised(phonemes, "ˈ")
    return emphasised(phonemes, "ˌ") if word[0].isupper() else phonemes


def _weak_form(word: str, following: str) -> str | None:
    """What misaki gave the model in training; None for words without a form of this kind."""
    lower = word.lower()
    next_sound = following.lstrip("ˈˌ")[:1]
    before_vowel = next_sound in VOWELS if next_sound else False
    before_pause = not next_sound or not next_sound.isalpha()
    forms = {
        "a": "ˈA" if before_pause else "ɐ",
        "an": "ɐn",
        "the": "ði" if before_vowel else "ðə",
        "to": "tu" if before_pause else "tʊ" if before_vowel else "tə",
        "in": "ˈɪn" if before_pause else "ɪn",
        "am": "æm" if before_pause else "ɐm",
        "i": "ˌI",
    }
    if word.isupper() and lower in ("a", "am") and len(word) + before_pause > 2:
        return None
    return forms.get(lower)


def _part_of_speech(previous: str, following: str) -> str:
    """A guess from the neighbours, for the few words whose sound depends on it."""
    if previous in _PERFECT:
        return "VBN"
    if previous in _BEFORE_VERBS:
        return "VERB"
    if previous in _DETERMINERS:
        return "NOUN"
    return "None" if not following or following[0] in ".,;:!?" else "DEFAULT"


@cache
def _lexicon() -> EnglishLexicon:
    return EnglishLexicon()
