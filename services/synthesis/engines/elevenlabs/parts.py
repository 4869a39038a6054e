"""Texts that are longer than a model takes at once."""

import re
from typing import Final

_SENTENCES_END: Final = re.compile(r"(?:[.!?…][\"'”’»)\]]*\s+|[。！？]+|\n+)")
_WORDS_END: Final = re.compile(r"\s+")


def parts(text: str, most: int) -> list[str]:
    """The whole text, cut at the last end of a sentence that fits, else between two words, else anywhere."""
    cut: list[str] = []
    while len(text) > most:
        fits = text[:most]
        end = _last(_SENTENCES_END, fits) or _last(_WORDS_END, fits) or most
        cut.append(text[:end])
        text = text[end:]
    return [*cut, text]


def _last(end: re.Pattern[str], text: str) -> int:
    return max((found.end() for found in end.finditer(text)), default=0)
