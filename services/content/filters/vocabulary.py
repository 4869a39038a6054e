"""The words and patterns of one language, read from its file, and how they are found in a text."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import regex  # type: ignore[import-untyped]
import yaml

from services.content.domain import fold
from services.content.domain.words import GLUED
from services.content.filters import disguises

_GLUED = regex.compile(rf"[{GLUED}]", regex.V1)
_CYRILLIC = regex.compile(r"\p{Cyrillic}")
_APART = regex.compile(r"[^\p{L}\p{M}\p{N}]+")
_PART = regex.compile(r"<(\w+)>")
_MOST_WORDS = 5
# How near a word about the young must stand to a sexual one, in characters.
_NEAR, _NEAR_WHEN_GLUED = 40, 12


@dataclass(frozen=True, slots=True)
class Reading:
    """One text, prepared once for every vocabulary."""

    # As typed but in one line, for patterns that look for names.
    original: str
    # Without case, marks and signs: words with single spaces between them.
    folded: str
    # The same without spaces, for scripts that have no breaks.
    run: str
    # Single words, also those that are disguised; and all that is said: words and phrases.
    words: frozenset[str]
    said: frozenset[str]

    @classmethod
    def of(cls, text: str) -> "Reading":
        original = " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").split())
        unveiled = disguises.unveiled(original)
        folded = _spaced(unveiled)
        run = "".join(_GLUED.findall(folded))
        # Most texts have nothing to fold but case.
        spoken = {folded, _spaced(original.casefold())}
        words = frozenset(disguises.undisguised(unveiled)).union(*(each.split() for each in spoken))
        return cls(original, folded, run, words, words.union(*map(_phrases, spoken)))


class Terms:
    """Words, phrases, beginnings of words (with *), and parts of a run without breaks.

    A term that is written with marks is found only with them: "coño" is not "cono".
    """

    def __init__(self, terms: Iterable[str]) -> None:
        listed = [unicodedata.normalize("NFC", term.casefold()) for term in terms]
        # Russian is often typed without its two marks.
        listed += [fold(term) for term in listed if _CYRILLIC.match(term)]
        spaced = [term for term in listed if not _GLUED.match(term)]
        self._inside = tuple(fold(term) for term in listed if _GLUED.match(term))
        self._words = frozenset(_spaced(term) for term in spaced if not term.endswith("*"))
        self._stems = tuple(_spaced(term[:-1]) for term in spaced if term.endswith("*"))

    def found_in(self, reading: Reading) -> bool:
        return (
            not self._words.isdisjoint(reading.said)
            or (bool(self._stems) and any(word.startswith(self._stems) for word in reading.words))
            or any(part in reading.run for part in self._inside)
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """Looks where it belongs: names keep their case, and some scripts have no spaces."""

    regex: regex.Pattern[str]
    where: Literal["original", "folded", "run"]
    # What stands in whatever it finds. Looking for that alone costs a tenth, and a text hardly ever has it.
    needs: regex.Pattern[str] | None = None

    def found_in(self, reading: Reading) -> bool:
        text: str = getattr(reading, self.where)
        if not text or (self.needs and not self.needs.search(text)):
            return False
        return self.regex.search(text) is not None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """By category: `anywhere` is unmistakable in any language, `at_home` may be innocent in another."""

    anywhere: Mapping[str, Terms]
    at_home: Mapping[str, Terms]
    patterns: Mapping[str, tuple[Pattern, ...]]

    def categories_of(self, reading: Reading, *, at_home: bool) -> set[str]:
        found = {name for name, terms in self.anywhere.items() if terms.found_in(reading)}
        if at_home:
            found |= {name for name, terms in self.at_home.items() if terms.found_in(reading)}
        for name, patterns in self.patterns.items():
            if any(pattern.found_in(reading) for pattern in patterns):
                found.add(name)
        return found


class Innocents:
    """Titles, places and sayings that hold a listed word and mean no harm."""

    def __init__(self, names: Iterable[str]) -> None:
        spelled = "|".join(regex.escape(name) for name in sorted(names, key=len, reverse=True))
        self._names = regex.compile(
            rf"(?<![\p{{L}}\p{{N}}])(?:{spelled})(?![\p{{L}}\p{{N}}])", regex.IGNORECASE
        )

    def removed_from(self, text: str) -> str:
        return str(self._names.sub(" … ", text.replace("’", "'")))


def load_vocabularies(folder: Path) -> dict[str, Vocabulary]:
    files = sorted(path for path in folder.glob("*.yaml") if path.stem != "innocent")
    return {path.stem: _vocabulary(_read(path)) for path in files}


def load_innocents(folder: Path) -> Innocents:
    return Innocents(_read(folder / "innocent.yaml"))


def _read(path: Path) -> Any:
    # The loader written in C: there are 200 kB of it, at each start.
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)


def _vocabulary(file: dict[str, Any]) -> Vocabulary:
    parts = {name: f"(?:{'|'.join(words)})" for name, words in file["parts"].items()}
    patterns = {
        name: tuple(_pattern(name, pattern, parts) for pattern in listed)
        for name, listed in file["patterns"].items()
    }
    patterns["minors"] = (*patterns.get("minors", ()), _near(parts["young"], parts["sexual"]))
    return Vocabulary(
        {name: Terms(terms) for name, terms in file.get("anywhere", {}).items()},
        {name: Terms(terms) for name, terms in file.get("at_home", {}).items()},
        patterns,
    )


def _pattern(category: str, pattern: str, parts: Mapping[str, str]) -> Pattern:
    """`<part>` in a pattern stands for any of the words that the file lists under it."""
    filled = _PART.sub(lambda part: parts[part.group(1)], pattern)
    if category == "defamation":
        return Pattern(regex.compile(filled), "original", _needed(pattern, parts))
    if _GLUED.search(filled):
        return Pattern(regex.compile(fold(filled)), "run")
    return Pattern(regex.compile(rf"\b(?:{filled})\b"), "folded")


def _needed(accusation: str, parts: Mapping[str, str]) -> regex.Pattern[str] | None:
    """The crime, where one is named; and scripts without breaks have their verbs in their own letters."""
    if "<crime>" in accusation:
        return regex.compile(parts["crime"])
    return _GLUED if _GLUED.search(accusation) else None


def _near(young: str, sexual: str) -> Pattern:
    if _GLUED.search(young):
        between = f".{{0,{_NEAR_WHEN_GLUED}}}"
        either = f"{young}{between}{sexual}|{sexual}{between}{young}"
        return Pattern(regex.compile(fold(either)), "run", regex.compile(fold(sexual)))
    between = rf"\b.{{0,{_NEAR}}}\b"
    either = rf"\b{young}{between}{sexual}\b|\b{sexual}{between}{young}\b"
    return Pattern(regex.compile(either), "folded", regex.compile(sexual))


def _spaced(text: str) -> str:
    return str(_APART.sub(" ", text)).strip()


def _phrases(text: str) -> Iterator[str]:
    words = text.split()
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + _MOST_WORDS, len(words)) + 1):
            yield " ".join(words[begin:end])
