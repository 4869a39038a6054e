"""Undoes what is done to a word so that only people recognise it."""

from collections.abc import Iterator

import regex  # type: ignore[import-untyped]

from services.content.domain import fold
from services.content.domain.words import GLUED

_LEET = str.maketrans("0134578@$!+€£", "oieastbasitel")
_LEET_WITH_L = str.maketrans("0134578@$!+€£", "oleastbasltel")
# Letters of one script that look like those of another.
_CYRILLIC = "авекмнорстухіѕјԁԛѡьи"
_LATIN = "abekmhopctyxisjdqwbu"
_TO_LATIN = str.maketrans(_CYRILLIC, _LATIN)
_TO_CYRILLIC = str.maketrans(_LATIN, _CYRILLIC)

# Nothing can hide in these: plain letters, none three times in a row, and the stop or comma behind them.
_PLAIN = regex.compile(r"(?:([a-z])(?!\1\1))+[.,;:?]?")
_TOKEN = regex.compile(r"\S+")
_SPELLED_OUT = regex.compile(
    r"(?<![\p{L}\p{N}])[\p{L}\p{N}@$!](?:[\s.,_*·/|~-]{1,3}[\p{L}\p{N}@$!](?![\p{L}\p{N}])){2,20}"
)
# One sign in the place of a vowel: "sh*t".
_LEFT_OUT = regex.compile(r"(?<=\p{L})[*#_](?=\p{L})")
_VOWELS = "aeiou"
_NO_LETTER = regex.compile(r"[^\p{L}\p{N}]+")
_LONG_RUN = regex.compile(r"(.)\1{2,}")
_MIXED = regex.compile(r"(?=.*\p{Latin})(?=.*\p{Cyrillic})")
_LETTER = regex.compile(r"\p{L}")
_SIGN_FOR_LETTER = regex.compile(r"[0134578@$!+€£]")
_GLUED = regex.compile(rf"[{GLUED}]", regex.V1)
_UNSEEN = regex.compile(r"\p{Cf}+")


def unveiled(text: str) -> str:
    """Folded, without the invisible signs that may stand inside a word."""
    return fold(_UNSEEN.sub("", text))


def undisguised(folded: str) -> Iterator[str]:
    """Words that a folded text may be hiding; a handful for each of its own, so the work is bounded."""
    tokens = _TOKEN.findall(folded)
    for token in tokens:
        if not _PLAIN.fullmatch(token) and _LETTER.search(token) and not _GLUED.search(token):
            yield from _readings(token)
    for spelled in _SPELLED_OUT.findall(folded):
        yield from _readings(_NO_LETTER.sub("", spelled) if _LETTER.search(spelled) else "")


def _readings(token: str) -> Iterator[str]:
    spellings = {token}
    if _SIGN_FOR_LETTER.search(token.rstrip("!")):
        spellings |= {token.translate(_LEET), token.translate(_LEET_WITH_L)}
    if _MIXED.match(token):
        spellings |= {token.translate(_TO_LATIN), token.translate(_TO_CYRILLIC)}
    if len(_LEFT_OUT.findall(token)) == 1:
        spellings |= {_LEFT_OUT.sub(vowel, token) for vowel in _VOWELS}
    for spelling in spellings:
        word = _NO_LETTER.sub("", spelling)
        yield word
        if _LONG_RUN.search(word):
            yield _LONG_RUN.sub(r"\1\1", word)
            yield _LONG_RUN.sub(r"\1", word)
