"""Reads the pieces that the offline composer puts together, one file for each language."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.content.domain import Routine, characters, fold, words_of
from services.content.lexicon import DATA

LANGUAGES = ("en", "es", "fr", "de", "it", "pt")
SLOT = "{value}"


@dataclass(frozen=True, slots=True)
class Telling:
    """Cores of one kind, with the openings and closings that read well around them."""

    openings: tuple[str, ...]
    cores: tuple[str, ...]
    closings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Article:
    """Which article a bare value takes: by its first word, or the default unless it has one already."""

    default: str = ""
    unless_first: frozenset[str] = frozenset()
    first_word: Mapping[str, str] | None = None

    def before(self, value: str) -> str:
        first = (words_of(value) or [""])[0]
        article = (self.first_word or {}).get(first, self.default)
        if not article or not first or first in self.unless_first:
            return ""
        # "l'as de pique", but "le roi de pique".
        return article if article.endswith("'") else f"{article} "


@dataclass(frozen=True, slots=True)
class Chapter:
    tellings: tuple[Telling, ...]
    article: Article


Phrasebook = Mapping[Routine, Chapter]


def load_phrasebooks(folder: Path = DATA) -> dict[str, Phrasebook]:
    return {language: _phrasebook(folder / f"{language}.yaml") for language in LANGUAGES}


def _phrasebook(path: Path) -> Phrasebook:
    book: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    for piece in _pieces(book):
        # The composer adds up lengths; a piece must measure the same by characters and by graphemes.
        if len(piece) != characters(piece):
            raise ValueError(f"{path.name}: not in composed form: {piece!r}")
    return {Routine(name): _chapter(book, chapter) for name, chapter in book["routines"].items()}


def _chapter(book: dict[str, Any], chapter: dict[str, Any]) -> Chapter:
    tellings = tuple(
        Telling(
            openings=_gathered(book["openings"], kind["openings"]),
            cores=tuple(chapter[name]),
            closings=_gathered(book["closings"], kind["closings"]),
        )
        for name, kind in book["kinds"].items()
    )
    return Chapter(tellings, _article(chapter.get("article", {})))


def _article(rule: dict[str, Any]) -> Article:
    by_word = {fold(word): article for article, words in rule.get("first_word", {}).items() for word in words}
    return Article(rule.get("default", ""), frozenset(map(fold, rule.get("unless_first", ()))), by_word)


def _gathered(shelf: dict[str, list[str]], groups: list[str]) -> tuple[str, ...]:
    return tuple(piece for group in groups for piece in shelf[group])


def _pieces(book: dict[str, Any]) -> list[str]:
    shelves = [*book["openings"].values(), *book["closings"].values()]
    cores = [chapter[kind] for chapter in book["routines"].values() for kind in book["kinds"]]
    return [piece for shelf in [*shelves, *cores] for piece in shelf]
