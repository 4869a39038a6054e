"""What a caller can ask for: a note for a routine, or a thought about any topic."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from unicodedata import normalize

import structlog
from prometheus_client import Counter, Histogram

from services.content.domain import (
    Brief,
    ContentRulesNotMet,
    LanguageNotWritten,
    Lexicon,
    ModelUnavailable,
    RecentNotesUnavailable,
    Routine,
    RoutineUnknown,
    fingerprint,
    normalise_value,
    primary_language,
    repair,
    violations,
)
from services.content.ports import Model, RecentNotes
from services.kernel.errors import ServiceError

log = structlog.get_logger()

ATTEMPTS = 3

COMPOSE_SECONDS = Histogram(
    "content_compose_seconds",
    "Time from the brief to a note that keeps the rules, by the model that wrote it.",
    ["model"],
    # The offline composer needs about a millisecond, a remote model a third of a second.
    buckets=(0.001, 0.002, 0.005, 0.02, 0.1, 0.3, 0.6, 1, 2, 4, 8),
)
FALLBACKS = Counter(
    "content_model_fallbacks_total", "Models that could not answer, by cause.", ["model", "cause"]
)
REJECTIONS = Counter(
    "content_note_rejections_total", "Notes that broke a rule, by model and rule.", ["model", "rule"]
)


@dataclass(frozen=True, slots=True)
class Note:
    """`fallback_from` names the models that were asked before and could not answer."""

    text: str
    model: str
    fallback_from: tuple[str, ...] = ()


class Writing:
    """Asks the models in their order. The first that answers decides: a refusal is not a fallback."""

    def __init__(self, models: Sequence[Model], lexicon: Lexicon, recent: RecentNotes) -> None:
        self._models = models
        self._lexicon = lexicon
        self._recent = recent

    async def compose_note(self, routine_type: str, value: str, language: str, user_id: str) -> Note:
        """A note that keeps every rule, and is not one that this user was given lately."""
        if routine_type not in list(Routine):
            raise RoutineUnknown(f"There is no routine type {routine_type[:40]!r}.")
        routine, tongue = Routine(routine_type), primary_language(language)
        giveaways = self._lexicon.giveaways(routine, tongue)
        brief = Brief(routine, normalise_value(value), tongue, routine.value, giveaways)
        return await self._write_for(user_id, brief)

    async def generate_thought(self, topic: str, value: str, language: str, user_id: str) -> Note:
        """A note about any topic, whose own words stay out of it as well."""
        subject, tongue = normalize("NFC", topic).strip(), primary_language(language)
        routine = self._lexicon.routine_of(subject)
        giveaways = self._lexicon.significant(subject) | self._lexicon.giveaways(routine, tongue)
        brief = Brief(routine, normalise_value(value), tongue, subject, giveaways)
        return await self._write_for(user_id, brief)

    async def forget(self, user_id: str, erasure_id: str) -> int:
        """Erase all that is kept about a user; how many notes were remembered."""
        forgotten = await self._recent.forget(user_id)
        log.info("user_erased", erasure_id=erasure_id, recent_notes=forgotten)
        return forgotten

    async def _write_for(self, user_id: str, brief: Brief) -> Note:
        started = perf_counter()
        note = await self._write(replace(brief, avoid=await self._given_lately(user_id)))
        await self._remember(user_id, note)
        COMPOSE_SECONDS.labels(note.model).observe(perf_counter() - started)
        log.info(
            "note_composed",
            model=note.model,
            fallback_from=note.fallback_from,
            routine_type=brief.routine.value,
            language=brief.language,
        )
        return note

    async def _write(self, brief: Brief) -> Note:
        silent: list[str] = []
        failure: ServiceError | None = None
        for model in self._models:
            try:
                return Note(await self._attempts(model, brief), model.name, tuple(silent))
            except ModelUnavailable as error:
                failure = error
                silent.append(model.name)
                FALLBACKS.labels(model.name, error.cause).inc()
                log.warning("model_unavailable", model=model.name, cause=error.cause)
            except LanguageNotWritten as error:
                failure = failure or error
        raise failure or ModelUnavailable("There is no text model to ask.", "none_configured")

    async def _attempts(self, model: Model, brief: Brief) -> str:
        """The first attempt that keeps the rules, as it stands or repaired."""
        for attempt in range(1, ATTEMPTS + 1):
            text = repair(await model.compose(brief), brief.value)
            broken = violations(text, brief, self._lexicon)
            if not broken:
                return text
            for violation in broken:
                REJECTIONS.labels(model.name, violation.rule.value).inc()
            rules = [violation.rule.value for violation in broken]
            log.info("note_rejected", model=model.name, attempt=attempt, rules=rules)
            brief = replace(brief, complaints=tuple(violation.complaint for violation in broken))
        raise ContentRulesNotMet("No note that keeps the rules could be written; nothing was charged.")

    async def _given_lately(self, user_id: str) -> frozenset[str]:
        """Without its memory, content still writes: a repeated note is better than none."""
        try:
            return await self._recent.of(user_id)
        except RecentNotesUnavailable:
            log.warning("recent_notes_unavailable", step="read")
            return frozenset()

    async def _remember(self, user_id: str, note: Note) -> None:
        try:
            await self._recent.remember(user_id, fingerprint(note.text))
        except RecentNotesUnavailable:
            log.warning("recent_notes_unavailable", step="write")
