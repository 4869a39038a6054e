"""What a note is to be about, and the words by which it may be judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from services.content.domain.routines import Routine
from services.content.domain.topics import meanings
from services.content.domain.words import words_of


@dataclass(frozen=True, slots=True)
class Brief:
    """What a note is to be about. `value` is already normalised; `giveaways` are folded words.

    A giveaway that ends in * stands for every word that begins so.
    """

    routine: Routine
    value: str
    language: str
    topic: str
    giveaways: frozenset[str]
    # Fingerprints of notes that the same user was given lately.
    avoid: frozenset[str] = frozenset()
    # What was wrong with the last attempt, when this is another one.
    complaints: tuple[str, ...] = ()


class Tongues(Protocol):
    """Tells languages apart."""

    def odds(self, text: str) -> Mapping[str, float]:
        """How likely the text is in each language that can be told, together 1; empty for no words."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Folded words that give a topic away, everyday words, and an ear for languages."""

    topics: Mapping[Routine, Mapping[str, frozenset[str]]]
    languages: Mapping[str, frozenset[str]]
    tongues: Tongues

    def giveaways(self, routine: Routine, language: str) -> frozenset[str]:
        """English and Spanish always count: a topic must not slip out in the other tongue either."""
        words = self.topics[routine]
        return frozenset().union(*(words.get(name, frozenset()) for name in {"en", "es", language}))

    def significant(self, topic: str) -> frozenset[str]:
        """The words of a free topic that carry its meaning, in the forms that they take in a note."""
        named = frozenset(words_of(topic))
        return meanings(named - self._everyday() or named)

    def routine_of(self, topic: str) -> Routine:
        """The routine type that a free topic is another word for, or custom."""
        named = set(words_of(topic)) - self._everyday()
        for routine, by_language in self.topics.items():
            if named and named <= frozenset().union(*by_language.values()):
                return routine
        return Routine.CUSTOM

    def _everyday(self) -> frozenset[str]:
        return frozenset().union(*self.languages.values())
