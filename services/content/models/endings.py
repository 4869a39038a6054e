"""Ends a note that somebody else began: by a closing of the phrasebook, or a core with its closing."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from random import Random
from typing import Final

from services.content.domain import (
    LONGEST,
    SHORTEST,
    Brief,
    Lexicon,
    characters,
    fingerprint,
    keeps_rules,
    mentions,
)
from services.content.models.phrasebook import SLOT, Article, Chapter, Phrasebook, Telling

# Each is held to every rule, at a fifth of a millisecond; if so many break one, all will.
_MOST_TRIED: Final = 40
_STOP: Final = ". "


@dataclass(frozen=True, slots=True)
class _Sentences:
    """In the order of their lengths, which are known before anybody listens."""

    written: tuple[str, ...]
    # Without the value: the phrasebook's own letters are one character each.
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, sentences: Iterable[str]) -> "_Sentences":
        written = tuple(sorted(sentences, key=_length))
        return cls(written, tuple(map(_length, written)))

    def between(self, shortest: int, longest: int) -> tuple[str, ...]:
        return self.written[bisect_left(self.lengths, shortest) : bisect_right(self.lengths, longest)]


@dataclass(frozen=True, slots=True)
class _Ends:
    """Of one chapter: the sentences that can follow an opening with the value, and one without it."""

    closings: _Sentences
    tellings: _Sentences
    article: Article


class PhrasebookEndings:
    """Where there is no phrasebook for a language, only an opening that is a note by itself has an ending."""

    def __init__(self, phrasebooks: Mapping[str, Phrasebook], lexicon: Lexicon, chance: Random) -> None:
        self._ends = {
            (language, routine): _ends(chapter)
            for language, book in phrasebooks.items()
            for routine, chapter in book.items()
        }
        self._lexicon = lexicon
        self._chance = chance

    def of(self, opening: str, brief: Brief) -> Iterator[str]:
        ends = self._ends.get((brief.language, brief.routine))
        sentences = self._sentences(ends, opening, brief) if ends else iter(())
        whole = chain([opening], (f"{opening} {sentence}" for sentence in sentences))
        for note in islice(whole, _MOST_TRIED):
            if keeps_rules(note, brief, self._lexicon) and fingerprint(note) not in brief.avoid:
                yield note

    def _sentences(self, ends: _Ends, opening: str, brief: Brief) -> Iterator[str]:
        """Of a length that fits behind the opening."""
        said = characters(opening) + 1
        if mentions(opening, brief.value):
            return self._in_any_order(ends.closings.between(SHORTEST - said, LONGEST - said))
        named = ends.article.before(brief.value) + brief.value
        said += characters(named)
        fitting = ends.tellings.between(SHORTEST - said, LONGEST - said)
        return (telling.replace(SLOT, named) for telling in self._in_any_order(fitting))

    def _in_any_order(self, sentences: Sequence[str]) -> Iterator[str]:
        """Drawn one by one: the first is nearly always taken."""
        left = list(sentences)
        while left:
            drawn = self._chance.randrange(len(left))
            left[drawn], left[-1] = left[-1], left[drawn]
            yield left.pop()


def _ends(chapter: Chapter) -> _Ends:
    return _Ends(
        _Sentences.of(_closing_sentences(chapter)),
        _Sentences.of(
            core[0].upper() + core[1:] + closing
            for telling in chapter.tellings
            for core in telling.cores
            for closing in telling.closings
            if _STOP not in closing
        ),
        chapter.article,
    )


def _closing_sentences(chapter: Chapter) -> list[str]:
    """Those that read well behind anything, and are one sentence of their own."""
    shared = [closing for closing in chapter.tellings[0].closings if _is_shared(closing, chapter.tellings)]
    alone = [closing.removeprefix(_STOP) for closing in shared if closing.startswith(_STOP)]
    return [closing for closing in alone if _STOP not in closing]


def _is_shared(closing: str, tellings: tuple[Telling, ...]) -> bool:
    return all(closing in telling.closings for telling in tellings)


def _length(sentence: str) -> int:
    return len(sentence.replace(SLOT, ""))
