"""What may be put right in a note without asking for another."""

import unicodedata

import regex  # type: ignore[import-untyped]

from services.content.domain.blemishes import BULLET, EMOJI, ENUMERATION, LABEL, MARKUP, QUOTE
from services.content.domain.values import MASK, words_around
from services.content.domain.words import GLUED

_SPACES = regex.compile(r"[\s\p{Cc}\p{Zl}\p{Zp}]+")
_BLEMISHES = rf"(?:{EMOJI.pattern}|{QUOTE.pattern}|{MARKUP.pattern})+"
# What stood between two words must not glue them together.
_WORD = rf"[[\p{{L}}\p{{N}}{MASK}]--[{GLUED}]]"
_BETWEEN_WORDS = regex.compile(rf"(?<={_WORD}){_BLEMISHES}(?={_WORD})", regex.V1)
_ANYWHERE = regex.compile(_BLEMISHES)
# A mark whose letter is gone would sit on the value.
_STRAY_MARK = regex.compile(rf"(?<=^|\s|{MASK})\p{{M}}+")


def repair(text: str, value: str) -> str:
    """Put right what changes no word: spaces, quotes, labels, markup, and the value's own spelling."""
    plain = unicodedata.normalize("NFC", text).replace(MASK, "")
    masked = words_around(plain, value, loosely=True)
    before = None
    # Taking one thing away may bring another to light: a label inside quotes, a quote inside a label.
    while masked != before:
        before, masked = masked, _cleaned(masked)
    return masked.replace(MASK, value)


def _cleaned(masked: str) -> str:
    masked = _ANYWHERE.sub("", _BETWEEN_WORDS.sub(" ", masked))
    masked = _STRAY_MARK.sub("", _SPACES.sub(" ", masked))
    # One point of several is still a list without its sign.
    for opening in (LABEL,) if ENUMERATION.search(masked) else (BULLET, LABEL):
        masked = opening.sub("", masked)
    return unicodedata.normalize("NFC", masked.strip())
