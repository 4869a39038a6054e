"""Refuses what must not be put into a user's mouth: what comes in, and what a model wrote."""

from enum import StrEnum
from pathlib import Path

from prometheus_client import Counter

from services.content.domain import Brief, ContentRefused, SelfHarmRefused, primary_language
from services.content.filters.vocabulary import (
    Innocents,
    Reading,
    Vocabulary,
    load_innocents,
    load_vocabularies,
)

DATA = Path(__file__).parent.parent / "data" / "filters"

__all__ = ["Category", "Filters", "load_filters"]

REFUSALS = Counter(
    "content_refusals_total", "Values and notes that were refused, by where and why.", ["where", "category"]
)
# Whoever sends more than a value has room for is told so elsewhere; the work here stays bounded.
_READ_AT_MOST = 1000


class Category(StrEnum):
    """In the order of weight: a text that is several things is refused for the first."""

    MINORS = "minors"
    SELF_HARM = "self_harm"
    HATE = "hate"
    DEFAMATION = "defamation"
    PROFANITY = "profanity"


_WHY = {
    Category.MINORS: "sexual content about minors",
    Category.SELF_HARM: "self-harm",
    Category.HATE: "hate against people for what they are",
    Category.DEFAMATION: "an accusation against a person",
    Category.PROFANITY: "obscene language",
}


class Filters:
    """Reads every text in its own language, and for what is unmistakable in any language."""

    def __init__(self, vocabularies: dict[str, Vocabulary], innocents: Innocents) -> None:
        self._vocabularies = vocabularies
        self._innocents = innocents

    def check_input(self, value: str, topic: str, language: str) -> None:
        """Raises ContentRefused."""
        for text in (value, topic):
            category = self.category_of(text, primary_language(language))
            if category is not None:
                raise _refused("input", category)

    def check_output(self, text: str, brief: Brief) -> None:
        """Raises ContentRefused."""
        category = self.category_of(text, brief.language)
        if category is not None:
            raise _refused("output", category)

    def category_of(self, text: str, language: str) -> Category | None:
        """What a text is refused for, if anything. Film titles, places and names are let through first."""
        if not text:
            return None
        reading = Reading.of(self._innocents.removed_from(text[:_READ_AT_MOST]))
        found = {
            name
            for own, vocabulary in self._vocabularies.items()
            for name in vocabulary.categories_of(reading, at_home=own == language)
        }
        return next((category for category in Category if category.value in found), None)


def load_filters(folder: Path = DATA) -> Filters:
    return Filters(load_vocabularies(folder), load_innocents(folder))


def _refused(where: str, category: Category) -> ContentRefused:
    REFUSALS.labels(where, category.value).inc()
    what = "This value or topic" if where == "input" else "The note that came out"
    outcome = SelfHarmRefused if category is Category.SELF_HARM else ContentRefused
    return outcome(f"{what} cannot be spoken: it reads like {_WHY[category]}.", category.value)
