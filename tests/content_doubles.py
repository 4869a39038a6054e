"""Stands in for the models and the memory of content where a test is about something else."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from random import Random

from services.content.asking import Asking
from services.content.domain import Brief, RecentNotesUnavailable, ThoughtsUnavailable
from services.content.filters import load_filters
from services.content.lexicon import load_lexicon
from services.content.models.endings import PhrasebookEndings
from services.content.models.phrasebook import load_phrasebooks
from services.content.ports import Languages, Model, Question, RecentNotes, Thought, Thoughts
from services.content.usecases import Memory, Writing
from tests.contract.test_content_recent_notes import MemoryRecentNotes

LEXICON = load_lexicon()
FILTERS = load_filters()
ENDINGS = PhrasebookEndings(load_phrasebooks(), LEXICON, Random(0))
GOOD = "I woke up with Leo stuck in my head, and it just won't let go of me, even now with my tea."
OTHER = "I dreamt about Leo again, no idea why, and it is still with me now that the kettle is on."
_PIECE = 40


class ScriptedModel:
    """Answers from a list, each in small pieces, and keeps what it was asked. None: it never answers."""

    def __init__(
        self,
        name: str,
        *answers: str | Exception | None,
        languages: Sequence[str] = ("en",),
        seconds: float | None = 5,
    ) -> None:
        self.name = name
        self.languages = frozenset(languages)
        self.seconds = seconds
        self.asked: list[Brief] = []
        self._answers = list(answers)

    async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
        self.asked.append(brief)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
            return
        for start in range(0, len(answer), _PIECE):
            yield answer[start : start + _PIECE]


class NotesAway:
    async def of(self, user_id: str) -> frozenset[str]:
        raise RecentNotesUnavailable("Away.")

    async def claim(self, user_id: str, fingerprint: str) -> bool:
        raise RecentNotesUnavailable("Away.")

    async def forget(self, user_id: str) -> int:
        raise RecentNotesUnavailable("Away.")


class MemoryThoughts:
    """Keeps for as long as the test runs."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[Question, Thought]] = defaultdict(dict)
        self._erased = set[str]()

    async def find(self, question: Question) -> Thought | None:
        return self._kept[question.user_id].get(question)

    async def keep(self, question: Question, thought: Thought) -> None:
        if question.user_id not in self._erased:
            self._kept[question.user_id][question] = thought

    async def forget(self, user_id: str) -> int:
        self._erased.add(user_id)
        return len(self._kept.pop(user_id, {}))


class ThoughtsAway:
    async def find(self, question: Question) -> Thought | None:
        raise ThoughtsUnavailable("Away.")

    async def keep(self, question: Question, thought: Thought) -> None:
        raise ThoughtsUnavailable("Away.")

    async def forget(self, user_id: str) -> int:
        raise ThoughtsUnavailable("Away.")


class NoAnswers:
    """Nobody has sent a key."""

    async def forget(self, user_id: str) -> int:
        return 0


class OneLanguage:
    """Every performer speaks it."""

    def __init__(self, language: str) -> None:
        self._language = language

    async def of_caller(self) -> str:
        return self._language


class NoLanguageAsked:
    """For tests whose requests name one: nobody may be asked then."""

    async def of_caller(self) -> str:
        raise AssertionError("the request names a language")


def asking(*models: Model, budget_seconds: float = 5) -> Asking:
    return Asking(models, LEXICON, FILTERS, ENDINGS, budget_seconds)


def writing(
    *models: Model,
    recent: RecentNotes | None = None,
    thoughts: Thoughts | None = None,
    keeps_thoughts: bool = False,
    keeps_notes: bool = False,
    languages: Languages | None = None,
) -> Writing:
    memory = Memory(
        recent=recent or MemoryRecentNotes(),
        thoughts=thoughts or MemoryThoughts(),
        answers=NoAnswers(),
        written_by="test",
        keeps_thoughts=keeps_thoughts,
        keeps_notes=keeps_notes,
    )
    return Writing(asking(*models), LEXICON, FILTERS, memory, languages or NoLanguageAsked())
