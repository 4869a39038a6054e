"""Writes notes without any model: opening, core and closing, chosen so that every rule is kept."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TypeVar

import regex  # type: ignore[import-untyped]

from services.content.domain import (
    LONGEST,
    SHORTEST,
    Brief,
    ContentRulesNotMet,
    LanguageNotWritten,
    Lexicon,
    characters,
    fingerprint,
    fold,
    mentions,
    names_topic,
    violations,
    words_of,
)
from services.content.models.phrasebook import SLOT, Chapter, Phrasebook, Telling

T = TypeVar("T")

_STOP = regex.compile(r"[.!?…。！？]")
# Words that share so many letters sound like one word said twice: woke and woken, dream and dreamt.
_ECHO = 4


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which pieces may stand around a value: the first choice is the most natural one."""

    fits: Callable[[str], bool]
    one_sentence: bool
    ended: bool = True


class OfflineModel:
    name = "offline"
    # It waits for nobody.
    seconds = None

    def __init__(self, phrasebooks: Mapping[str, Phrasebook], lexicon: Lexicon, chance: Random) -> None:
        self._phrasebooks = phrasebooks
        self.languages = frozenset(phrasebooks)
        self._lexicon = lexicon
        self._everyday = {name: words for name, words in lexicon.languages.items() if name in phrasebooks}
        self._chance = chance

    async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
        yield await self.compose(brief)

    async def compose(self, brief: Brief) -> str:
        """Never one of `brief.avoid` while another note can be made."""
        book = self._phrasebooks.get(brief.language)
        if book is None:
            raise LanguageNotWritten(f"No notes can be written in {brief.language!r} without a text model.")
        for avoid in (brief.avoid, frozenset[str]()):
            for note in self._notes(book[brief.routine], brief):
                if fingerprint(note) not in avoid and not violations(note, brief, self._lexicon):
                    return note
        raise ContentRulesNotMet("No note that keeps the rules can be made around this value.")

    def _notes(self, chapter: Chapter, brief: Brief) -> Iterator[str]:
        article = chapter.article.before(brief.value)
        for choice in _choices(brief):
            for telling, core in self._shuffled([(t, c) for t in chapter.tellings for c in t.cores]):
                if choice.fits(article + core):
                    yield from self._around(telling, core.replace(SLOT, article + SLOT), choice, brief)

    def _around(self, telling: Telling, core: str, choice: _Choice, brief: Brief) -> Iterator[str]:
        closings = [c if choice.ended else c.removesuffix(".") for c in telling.closings]
        if choice.one_sentence:
            closings = [c for c in closings if ". " not in c]
        closings = [c for c in closings if choice.fits(c)]
        length = len(core) - len(SLOT) + characters(brief.value)
        pairs = [
            (opening, closing)
            for opening in telling.openings
            if choice.fits(opening)
            for closing in closings
            if SHORTEST <= len(opening) + length + len(closing) <= LONGEST
        ]
        for opening, closing in self._shuffled(pairs):
            frame = opening + core + closing
            if not self._echoes(frame, brief.language):
                yield _filled(frame, brief.value)

    def _echoes(self, frame: str, language: str) -> bool:
        """Whether a telling word is heard twice, as in "I woke up and I woke up"."""
        heard = [
            word[:_ECHO]
            for word in words_of(frame.replace(SLOT, " "))
            if len(word) >= _ECHO - 1 and word not in self._everyday[language]
        ]
        return len(heard) != len(set(heard))

    def _shuffled(self, items: list[T]) -> list[T]:
        return self._chance.sample(items, len(items))


def _choices(brief: Brief) -> Iterator[_Choice]:
    # A listener hears a stop inside the value as a sentence of its own, so the rest stays one sentence.
    stops = bool(_STOP.search(brief.value))
    spelled = fold(brief.value)

    # Openings and closings stand around many cores; each is judged once.
    @cache
    def silent(piece: str) -> bool:
        words = piece.replace(SLOT, " ")
        return not mentions(words, brief.value) and not names_topic(words, brief.giveaways)

    @cache
    def unspelled(piece: str) -> bool:
        return spelled not in fold(piece.replace(SLOT, " ")) and silent(piece)

    yield _Choice(unspelled, stops)
    yield _Choice(silent, stops)
    # For values such as "." every stop around them would be a second mention.
    yield _Choice(silent, True, ended=False)


def _filled(frame: str, value: str) -> str:
    note = (frame[0].upper() + frame[1:]).replace(SLOT, value)
    if _STOP.match(value[-1]) and note.endswith(f"{value}."):
        return note.removesuffix(".")
    return note
