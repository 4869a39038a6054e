"""What this voice would leave out of a text, and with it perhaps the one thing that the text is about."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from services.synthesis.engines.local.reading.script import readable

# Signs that somebody may have chosen: sums, shapes, stars, planets, chessmen, dice and money. Pictures,
# arrows, music and ticks only adorn what is said.
_CHOSEN: Final = re.compile("[∀-⋿■-◿★☆☉☽☾☿♁♃-♇♔-♟⚀-⚅₠-⃀]")


def unreadable(text: str) -> str:
    """The letters and numbers that have no reading here, and the signs that stand alone."""
    lines = unicodedata.normalize("NFC", text).splitlines()
    return "".join(lost for line in lines for lost in _lost(line.split()))


def _lost(words: Sequence[str]) -> Iterator[str]:
    for index, word in enumerate(words):
        yield from filter(_is_dropped, word)
        is_bullet = index == 0 and len(words) > 1
        if not is_bullet and not any(map(str.isalnum, word)):
            yield from (sign for sign in _CHOSEN.findall(word) if readable(sign) == " ")


def _is_dropped(character: str) -> bool:
    category = unicodedata.category(character)
    # Modifiers, like the long vowel of katakana, change a letter that is read.
    return category[0] in "LN" and category != "Lm" and readable(character) == " "
