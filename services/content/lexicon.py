"""Reads the words that the rules of a text need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from services.content.domain import Lexicon, Routine, fold, words_of
from services.content.languages import tongues

DATA = Path(__file__).parent / "data"


def load_lexicon(folder: Path = DATA) -> Lexicon:
    topics = _read(folder / "topics.yaml")
    languages = _read(folder / "languages.yaml")
    return Lexicon(
        topics={Routine(name): _folded(by_language) for name, by_language in topics.items()},
        languages=_folded(languages),
        tongues=tongues(),
    )


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return found


def _folded(by_language: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    return {
        language: frozenset(word for entry in entries for word in _words(entry))
        for language, entries in by_language.items()
    }


def _words(entry: str) -> list[str]:
    """A stem keeps its asterisk."""
    return [fold(entry)] if entry.endswith("*") else words_of(entry)
