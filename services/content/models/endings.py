"""Ends a note that somebody else began: by a closing of the phrasebook, or a core with its closing."""

from collections.abc import Iterator, Mapping
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
    mentions,
    violations,
)
from services.content.models.phrasebook import SLOT, Chapter, Phrasebook, Telling

# Each is held to every rule, at a third of a millisecond; if so many break one, all will.
_MOST_TRIED: Final = 40
_STOP: Final = ". "


class PhrasebookEndings:
    """Where there is no phrasebook for a language, only an opening that is a note by itself has an ending."""

    def __init__(self, phrasebooks: Mapping[str, Phrasebook], lexicon: Lexicon, chance: Random) -> None:
        self._phrasebooks = phrasebooks
        self._lexicon = lexicon
        self._chance = chance

    def of(self, opening: str, brief: Brief) -> Iterator[str]:
        book = self._phrasebooks.get(brief.language)
        sentences = self._sentences(book[brief.routine], opening, brief) if book else iter(())
        whole = chain([opening], (f"{opening} {sentence}" for sentence in sentences))
        for note in islice(whole, _MOST_TRIED):
            if fingerprint(note) not in brief.avoid and not violations(note, brief, self._lexicon):
                yield note

    def _sentences(self, chapter: Chapter, opening: str, brief: Brief) -> Iterator[str]:
        """Of a length that fits behind the opening."""
        said = characters(opening) + 1
        if mentions(opening, brief.value):
            found = _closing_sentences(chapter)
        else:
            article = chapter.article.before(brief.value)
            found = [
                _sentence(core.replace(SLOT, article + brief.value), closing)
                for telling in chapter.tellings
                for core in telling.cores
                for closing in telling.closings
                if _STOP not in closing
            ]
        fitting = [each for each in found if SHORTEST <= said + characters(each) <= LONGEST]
        return iter(self._chance.sample(fitting, len(fitting)))


def _closing_sentences(chapter: Chapter) -> list[str]:
    """Those that read well behind anything, and are one sentence of their own."""
    shared = [closing for closing in chapter.tellings[0].closings if _is_shared(closing, chapter.tellings)]
    alone = [closing.removeprefix(_STOP) for closing in shared if closing.startswith(_STOP)]
    return [closing for closing in alone if _STOP not in closing]


def _is_shared(closing: str, tellings: tuple[Telling, ...]) -> bool:
    return all(closing in telling.closings for telling in tellings)


def _sentence(core: str, closing: str) -> str:
    return core[0].upper() + core[1:] + closing
