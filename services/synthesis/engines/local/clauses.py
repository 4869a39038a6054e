"""Cut a text where a speaker would breathe: a short first clause for early audio, then longer ones."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

# Later clauses may grow, because each is computed while the one before it plays.
CLAUSE_CHARACTERS: Final = (40, 70, 110, 160)
_FEWEST_CHARACTERS: Final = 12

_CLOSERS: Final = "\"'”’»)]"
_ABBREVIATION: Final = re.compile(
    r"(?:[A-Z]|Mrs?|Ms|Drs?|St|Jr|Sr|Prof|vs|etc|e\.g|i\.e|a\.m|p\.m|[Nn]o|[Nn]úm|approx|min|sec"
    r"|Sra|Srta|Dra|D|Dña|Ud|Uds|pág|p\.ej|EE|UU)\.",
    re.IGNORECASE,
)
# A speaker may take a breath before these, even where nothing is written.
_OPENERS: Final = frozenset(
    [
        "and",
        "but",
        "or",
        "so",
        "because",
        "that",
        "which",
        "who",
        "when",
        "where",
        "while",
        "if",
        "though",
        "although",
        "until",
        "since",
        "with",
        "without",
        "for",
        "from",
        "into",
        "about",
        "after",
        "before",
        "than",
        "as",
        "like",
        "y",
        "e",
        "o",
        "u",
        "pero",
        "porque",
        "que",
        "quien",
        "cuando",
        "donde",
        "mientras",
        "si",
        "aunque",
        "hasta",
        "desde",
        "con",
        "sin",
        "para",
        "por",
        "sobre",
        "después",
        "antes",
        "como",
        "según",
    ]
)


class Break(IntEnum):
    """How strong a boundary is."""

    WORD = 0
    PHRASE = 1
    COMMA = 2
    COLON = 3
    SENTENCE = 4


# What a listener expects to hear after each, at normal speed.
PAUSE_SECONDS: Final = {
    Break.WORD: 0.02,
    Break.PHRASE: 0.05,
    Break.COMMA: 0.16,
    Break.COLON: 0.24,
    Break.SENTENCE: 0.38,
}


@dataclass(frozen=True, slots=True)
class Clause:
    text: str
    ends_with: Break

    @property
    def pause_seconds(self) -> float:
        return PAUSE_SECONDS[self.ends_with]


def clauses(text: str) -> list[Clause]:
    """Every word of the text, in order; the last clause always ends a sentence."""
    words = [piece for line in text.splitlines() for piece in _words_of(line)]
    cut: list[Clause] = []
    while words:
        limit = CLAUSE_CHARACTERS[min(len(cut), len(CLAUSE_CHARACTERS) - 1)]
        count = _words_in_next_clause(words, limit)
        ends_with = words[count - 1][1] if count < len(words) else Break.SENTENCE
        cut.append(Clause(" ".join(word for word, _ in words[:count]), ends_with))
        words = words[count:]
    return cut


def _words_of(line: str) -> list[tuple[str, Break]]:
    """Each word of a line with the break after it; a word too long for any clause is cut up."""
    words = line.split()
    longest = CLAUSE_CHARACTERS[-1]
    found: list[tuple[str, Break]] = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else None
        pieces = [word[start : start + longest] for start in range(0, len(word), longest)]
        found.extend((piece, Break.WORD) for piece in pieces[:-1])
        found.append((pieces[-1], _break_between(word, following)))
    return found


def _break_between(word: str, following: str | None) -> Break:
    bare = word.rstrip(_CLOSERS)
    if following is None or bare.endswith(("!", "?", "…")):
        return Break.SENTENCE
    if bare.endswith("."):
        return Break.WORD if _ABBREVIATION.fullmatch(bare.lstrip("\"'“‘«([¿¡")) else Break.SENTENCE
    if bare.endswith((";", ":", "—", "–")) or following in ("—", "–", "-"):
        return Break.COLON
    if bare.endswith(",") or following.startswith(("(", "[", "“", "«")):
        return Break.COMMA
    return Break.PHRASE if following.lower().strip(",.;:!?") in _OPENERS else Break.WORD


def _words_in_next_clause(words: list[tuple[str, Break]], limit: int) -> int:
    """How many words to take: up to the strongest late break that fits, or all when all fit."""
    lengths = _running_lengths(words, limit)
    fitting = len(lengths)
    if fitting == len(words):
        return fitting
    candidates = [
        (strength, count)
        for count, (_, strength) in enumerate(words[:fitting], start=1)
        if lengths[count - 1] >= _FEWEST_CHARACTERS or strength >= Break.COMMA
    ]
    if not candidates:
        return max(1, fitting)
    # A sentence's end is worth waiting for; among commas and the like the latest is best.
    strongest = max(strength for strength, _ in candidates)
    wanted = min(strongest, Break.COMMA) if strongest < Break.SENTENCE else Break.SENTENCE
    return max(count for strength, count in candidates if strength >= wanted)


def _running_lengths(words: list[tuple[str, Break]], limit: int) -> list[int]:
    lengths: list[int] = []
    total = -1
    for word, _ in words:
        total += 1 + len(word)
        if total > limit and lengths:
            break
        lengths.append(total)
    return lengths
