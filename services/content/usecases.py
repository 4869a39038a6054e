"""What a caller can ask for: a note for a routine, or a thought about any topic."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from time import perf_counter
from unicodedata import normalize

import structlog
from prometheus_client import Counter, Histogram

from services.content.asking import Asking, Note
from services.content.domain import (
    Brief,
    Lexicon,
    RecentNotesUnavailable,
    Routine,
    RoutineUnknown,
    ThoughtsUnavailable,
    fingerprint,
    normalise_value,
    primary_language,
)
from services.content.opening import LetGo
from services.content.ports import Answers, Filters, Languages, Question, RecentNotes, Thought, Thoughts

log = structlog.get_logger()

COMPOSE_SECONDS = Histogram(
    "content_compose_seconds",
    "Time from the brief to a note that keeps the rules, by the model that wrote it.",
    ["model"],
    # The offline composer needs about a millisecond, a remote model a third of a second.
    buckets=(0.001, 0.002, 0.005, 0.02, 0.1, 0.3, 0.6, 1, 2, 4, 8),
)
CACHE_ANSWERS = Counter(
    "content_cache_answers_total", "Questions that were looked up among kept thoughts.", ["outcome"]
)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered between calls, and whose answers are kept for a short while."""

    recent: RecentNotes
    thoughts: Thoughts
    answers: Answers
    # The version of the prompts and the models in their order: another one writes other notes.
    written_by: str
    keeps_thoughts: bool
    keeps_notes: bool


class Writing:
    def __init__(
        self, asking: Asking, lexicon: Lexicon, filters: Filters, memory: Memory, languages: Languages
    ) -> None:
        self._asking = asking
        self._lexicon = lexicon
        self._filters = filters
        self._memory = memory
        self._languages = languages

    def streams(self, language: str) -> bool:
        """Whether `stream_note` begins earlier than `compose_note` ends."""
        return self._asking.streams(primary_language(language))

    async def stream_note(
        self, routine_type: str, value: str, language: str, user_id: str
    ) -> AsyncGenerator[str | Note, None]:
        """The first sentence as soon as nothing can come of it any more, then the whole note; or the note
        alone. Consume inside `aclosing`."""
        opening = asyncio.get_running_loop().create_future()
        composing = self.compose_note(routine_type, value, language, user_id, opening.set_result)
        writing = asyncio.create_task(composing)
        try:
            await asyncio.wait({opening, writing}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                yield opening.result()
            yield await writing
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def compose_note(
        self, routine_type: str, value: str, language: str, user_id: str, let_go: LetGo | None = None
    ) -> Note:
        """A note that keeps every rule, and is not one that this user was given lately."""
        if routine_type not in list(Routine):
            raise RoutineUnknown(f"There is no routine type {routine_type[:40]!r}.")
        routine, tongue = Routine(routine_type), primary_language(language)
        giveaways = self._lexicon.giveaways(routine, tongue)
        brief = Brief(routine, normalise_value(value), tongue, routine.value, giveaways)
        self._filters.check_input(brief.value, "", tongue)
        return await self._answer(user_id, brief, let_go, kept=self._memory.keeps_notes)

    async def generate_thought(self, topic: str, value: str, language: str, user_id: str) -> Note:
        """A note about any topic, whose own words stay out of it. Without a language, in the caller's own."""
        spoken = language or await self._languages.of_caller()
        subject, tongue = normalize("NFC", topic).strip(), primary_language(spoken)
        routine = self._lexicon.routine_of(subject)
        giveaways = self._lexicon.significant(subject) | self._lexicon.giveaways(routine, tongue)
        brief = Brief(routine, normalise_value(value), tongue, subject, giveaways)
        self._filters.check_input(brief.value, subject, tongue)
        return await self._answer(user_id, brief, None, kept=self._memory.keeps_thoughts)

    async def forget(self, user_id: str, erasure_id: str) -> dict[str, int]:
        """Erase all that is kept about a user; how much there was of what."""
        erased = {
            "recent_notes": await self._memory.recent.forget(user_id),
            "thoughts": await self._memory.thoughts.forget(user_id),
            "answers": await self._memory.answers.forget(user_id),
        }
        log.info("user_erased", erasure_id=erasure_id, **erased)
        return erased

    async def _answer(self, user_id: str, brief: Brief, let_go: LetGo | None, *, kept: bool) -> Note:
        if not kept:
            return await self._write_for(user_id, brief, let_go)
        question = Question(user_id, self._memory.written_by, brief.language, brief.topic, brief.value)
        found = await self._found(question)
        if found:
            return Note(found.text, found.model, cached=True)
        note = await self._write_for(user_id, brief, let_go)
        await self._keep(question, note)
        return note

    async def _write_for(self, user_id: str, brief: Brief, let_go: LetGo | None) -> Note:
        started = perf_counter()

        async def claim(text: str) -> bool:
            return await self._claimed(user_id, text)

        fresh = replace(brief, avoid=await self._given_lately(user_id))
        note = await self._asking.note(fresh, claim, let_go)
        COMPOSE_SECONDS.labels(note.model).observe(perf_counter() - started)
        log.info(
            "note_composed",
            model=note.model,
            fallback_from=note.fallback_from,
            ended_by=note.ended_by,
            routine_type=brief.routine.value,
            language=brief.language,
        )
        return note

    async def _given_lately(self, user_id: str) -> frozenset[str]:
        """Without its memory, content still writes: a repeated note is better than none."""
        try:
            return await self._memory.recent.of(user_id)
        except RecentNotesUnavailable:
            log.warning("recent_notes_unavailable", step="read")
            return frozenset()

    async def _claimed(self, user_id: str, text: str) -> bool:
        try:
            return await self._memory.recent.claim(user_id, fingerprint(text))
        except RecentNotesUnavailable:
            log.warning("recent_notes_unavailable", step="write")
            return True

    async def _found(self, question: Question) -> Thought | None:
        try:
            found = await self._memory.thoughts.find(question)
        except ThoughtsUnavailable:
            CACHE_ANSWERS.labels("unavailable").inc()
            log.warning("thoughts_unavailable", step="read")
            return None
        CACHE_ANSWERS.labels("hit" if found else "miss").inc()
        return found

    async def _keep(self, question: Question, note: Note) -> None:
        """What a stand-in wrote is not kept: it must not outlive the reason for it."""
        if note.fallback_from or note.ended_by:
            return
        try:
            await self._memory.thoughts.keep(question, Thought(note.text, note.model))
        except ThoughtsUnavailable:
            log.warning("thoughts_unavailable", step="write")
