"""Text as people read it: words, characters and sentences, in every script that notes are written in."""

import unicodedata
from hashlib import sha256

import regex  # type: ignore[import-untyped]

# Scripts without spaces between words. Korean has spaces, but hangs its particles on the words.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー々〆"
GLUED = UNSPACED + r"\p{Hangul}"

_WORDS = regex.compile(rf"[{UNSPACED}]+|\p{{Hangul}}+|[[\p{{L}}\p{{M}}\p{{N}}]--[{GLUED}]]+", regex.V1)
# The marks of accents. Two are left: they make another letter of a kana; without them a card would be a cart.
_MARKS = regex.compile(r"[^\p{ccc=0}\u3099\u309a]")

# After these a stop ends nothing: "Dr. Who".
_TITLES = regex.compile(r"mrs?|ms|dr|prof|st|sra?|srta|mt|vs|bzw|ca|sog|d\.h|z\.b|u\.a|v\.a|s\.o")
# Nor after these when a number follows: "No. 5".
_NUMBER_SIGNS = regex.compile(r"no|nr|n[uú]m")
# After these it ends something only when a capital follows: "etc. Then I woke up".
_ABBREVIATIONS = regex.compile(
    r"etc|approx|[ap]\.m|e\.g|i\.e|u\.?s\.?w|ecc|p\.ex|p\.ej|ee\.uu|т\.[едпк]|др|пр"
)
# "z. B."
_LETTER_WITH_STOP = regex.compile(r"\p{L}\.")
_STOP = regex.compile(r"[。！？｡．]+[\s」』”’）)]*|[.!?…‽؟]+[\"'”’»)]*(?:\s+|$)")
# Of what follows a stop, so many tell whether it ended a sentence.
_DECIDING_CHARACTERS = 2
# One character each, whatever stands beside them: Latin without combining marks, dashes and quotes of print.
_ONE_EACH = regex.compile(r"[\x00-\x0c\x0e-\u02ff\u2010-\u2027]*+")
_LAST_WORD = regex.compile(r"(?<![\p{L}\p{N}.])([\p{L}.]+)$")


def fold(text: str) -> str:
    """Without case and accents, so that PELÍCULA and pelicula are one word."""
    if text.isascii():
        return text.casefold()
    plain = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", _MARKS.sub("", plain))


def words_of(text: str) -> list[str]:
    """Folded words. A run of Chinese or Japanese is one: it has no breaks to go by."""
    found: list[str] = _WORDS.findall(fold(text))
    return found


def characters(text: str) -> int:
    """Length as people count it: one for each grapheme."""
    if _ONE_EACH.fullmatch(text):
        return len(text)
    return sum(1 for _ in regex.finditer(r"\X", text))


def primary_language(tag: str) -> str:
    """The part of a language tag that decides which words are used; English when there is none."""
    return tag.replace("_", "-").split("-")[0].lower() or "en"


def fingerprint(text: str) -> str:
    """Enough of a note to know it again in any case and punctuation, and nothing of what it says."""
    said = "".join(words_of(text)) or text
    return sha256(said.encode()).hexdigest()[:32]


def has_stop(text: str) -> bool:
    """Whether something in it looks like the end of a sentence."""
    return bool(_STOP.search(text))


def first_sentence(text: str, language: str = "") -> str:
    """The first one, once another has begun behind it; empty before, and when what follows decides."""
    for stop in _STOP.finditer(text):
        if len(text) - stop.end() < _DECIDING_CHARACTERS:
            return ""
        if text[: stop.start()].strip() and _ends(text, 0, stop, language):
            return text[: stop.end()].strip()
    return ""


def sentences(text: str, language: str = "") -> int:
    """How many sentences are heard. A German number with a stop is an ordinal: "am 3. Mai"."""
    count, begin = 0, 0
    for stop in _STOP.finditer(text):
        if _ends(text, begin, stop, language):
            count += bool(text[begin : stop.start()].strip())
            begin = stop.end()
    return count + bool(text[begin:].strip())


def _ends(text: str, begin: int, stop: regex.Match[str], language: str) -> bool:
    after = text[stop.end() : stop.end() + 1]
    mark = stop.group().strip()
    if not after or mark[0] not in ".…":
        return True
    if mark.startswith(("…", "..")):
        return not after.islower()
    before = text[begin : stop.start()]
    if language == "de" and before[-1:].isdigit():
        return False
    found = _LAST_WORD.search(before)
    return not (found and _is_cut_short(found.group(1), text[stop.end() :]))


def _is_cut_short(word: str, rest: str) -> bool:
    """Whether the stop after a word belongs to the word."""
    spelled = word.casefold()
    if len(word) == 1:
        return word.isupper() or rest[:1].islower() or bool(_LETTER_WITH_STOP.match(rest))
    if _TITLES.fullmatch(spelled):
        return True
    if _NUMBER_SIGNS.fullmatch(spelled):
        return rest[:1].isdigit()
    return rest[:1].islower() and bool(_ABBREVIATIONS.fullmatch(spelled))
