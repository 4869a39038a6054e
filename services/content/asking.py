"""Asks the models for a note: in their order, within their time, until one keeps the rules."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from services.content.domain import (
    LONGEST,
    Brief,
    ContentRefused,
    ContentRulesNotMet,
    LanguageNotWritten,
    Lexicon,
    ModelRefused,
    ModelUnavailable,
    Rest,
    Rule,
    Violation,
    violations,
)
from services.content.opening import LetGo, Opening
from services.content.ports import Endings, Filters, Model
from services.kernel.errors import ServiceError

log = structlog.get_logger()

ATTEMPTS: Final = 3
# Whoever has written this much is not writing a note; the rest is not waited for.
_MOST_LETTERS: Final = 4 * LONGEST
# It takes longer to say the shortest first sentence that is let go: whoever listens hears no gap.
_REST_SECONDS: Final = 2.0
# Finding these out takes as long as a performer waits; any other failure is told at once.
_SILENCE: Final = frozenset({"timeout", "connection"})

FIRST_TOKEN_SECONDS = Histogram(
    "content_first_token_seconds",
    "Time from a question to the first words of its answer, by model.",
    ["model"],
    buckets=(0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1, 2, 4, 8),
)
FALLBACKS = Counter(
    "content_model_fallbacks_total", "Models that could not answer, by cause.", ["model", "cause"]
)
MODEL_REFUSALS = Counter(
    "content_model_refusals_total", "Values that a model would not write about.", ["model"]
)
NOTE_ATTEMPTS = Counter(
    "content_note_attempts_total",
    "Notes as they came from a model: kept as written, kept after a repair, given once more, or rejected.",
    ["model", "outcome"],
)
REJECTIONS = Counter(
    "content_note_rejections_total", "Rules that notes broke, by model and rule.", ["model", "rule"]
)

ENDINGS = Counter(
    "content_note_endings_total",
    "Notes whose first sentence was let go, and that the phrasebook ended for the model.",
    ["model", "cause"],
)

_HARMFUL = "It says something that must not be said; write something harmless."
_GIVEN_LATELY = Violation(Rule.REPEATED, "This very note was given before; write a different one.")

# Whether a text is one that may be given now; asked once for each text that keeps the rules.
Claim = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Note:
    """`fallback_from` names the models that were asked before and could not answer."""

    text: str
    model: str
    fallback_from: tuple[str, ...] = ()
    # Not written now, but the answer to the same question a little earlier.
    cached: bool = False
    # Who wrote what follows a first sentence that had been let go, when it was not the model.
    ended_by: str = ""


class Asking:
    """The first model that answers decides: a refusal, or rules not met, is not a fallback."""

    def __init__(
        self,
        models: Sequence[Model],
        lexicon: Lexicon,
        filters: Filters,
        endings: Endings,
        budget_seconds: float,
    ) -> None:
        self._models = models
        self._lexicon = lexicon
        self._filters = filters
        self._endings = endings
        self._budget_seconds = budget_seconds
        self._rests = {model.name: Rest() for model in models}

    def streams(self, language: str) -> bool:
        """Whether who is asked first for a note in it takes time to write."""
        return next((model.seconds is not None for model in self._able(language)), False)

    async def note(self, brief: Brief, claim: Claim, let_go: LetGo | None = None) -> Note:
        """`let_go` is told the first sentence, if it can be, while the second is still being written."""
        able = self._able(brief.language)
        if not able:
            raise self._not_written(brief.language)
        ends = _now() + self._budget_seconds
        silent: list[str] = []
        for model in able:
            opening = self._opening(brief, let_go if model.seconds else None)
            try:
                # Who is asked last is asked in any case: there is nobody else.
                if model is not able[-1]:
                    self._let_rest(model)
                text, ended_by = await self._answered(model, brief, claim, opening, ends)
            except ModelUnavailable as error:
                failure = error
                silent.append(model.name)
                FALLBACKS.labels(model.name, error.cause).inc()
                log.warning("model_unavailable", model=model.name, cause=error.cause)
            except ModelRefused:
                MODEL_REFUSALS.labels(model.name).inc()
                log.info("note_refused", model=model.name)
                raise
            else:
                return Note(text, model.name, tuple(silent), ended_by=ended_by)
        raise failure

    def _able(self, language: str) -> list[Model]:
        return [model for model in self._models if language in model.languages]

    def _let_rest(self, model: Model) -> None:
        """Raises ModelUnavailable while nobody is to wait for it."""
        if not self._rests[model.name].over(_now()):
            raise ModelUnavailable("The text model did not answer lately.", "resting")

    def _not_written(self, language: str) -> LanguageNotWritten:
        possible = sorted(frozenset[str]().union(*(model.languages for model in self._models)))
        return LanguageNotWritten(
            f"Notes cannot be written in {language[:20]!r}; they can be in: {', '.join(possible)}."
        )

    async def _answered(
        self, model: Model, brief: Brief, claim: Claim, opening: Opening, ends: float
    ) -> tuple[str, str]:
        """The note, and who ended it when it was not the model: somebody is listening to its beginning."""
        try:
            return await self._in_time(model, brief, claim, opening, ends), ""
        except (ModelUnavailable, ModelRefused, ContentRulesNotMet, ContentRefused) as failure:
            if not opening.text:
                raise
            cause = failure.cause if isinstance(failure, ModelUnavailable) else failure.reason.lower()
            log.warning("note_ended_by_phrasebook", model=model.name, cause=cause)
            ENDINGS.labels(model.name, cause).inc()
            for note in opening.endings():
                if await claim(note):
                    return note, "phrasebook"
            # No other model may begin another note.
            raise ContentRulesNotMet("The note could not be ended; nothing was charged.") from failure

    async def _in_time(self, model: Model, brief: Brief, claim: Claim, opening: Opening, ends: float) -> str:
        if model.seconds is None:
            return await self._attempts(model, brief, claim, opening)
        left = min(model.seconds, ends - _now())
        if left <= 0:
            raise ModelUnavailable("There is no time left to ask the text model.", "no_time_left")
        rest = self._rests[model.name]
        asked = rest.asked(_now())
        try:
            text = await self._attempts_within(left, model, brief, claim, opening)
        except ServiceError as failure:
            if not (isinstance(failure, ModelUnavailable) and failure.cause in _SILENCE):
                rest.answered()
            # When others left it little time, or it was heard to begin, its silence tells nothing of it.
            elif not opening.text and left > model.seconds / 2:
                rest.failed(asked, _now())
            raise
        rest.answered()
        return text

    async def _attempts_within(
        self, seconds: float, model: Model, brief: Brief, claim: Claim, opening: Opening
    ) -> str:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._attempts(model, brief, claim, opening, limit)
        except TimeoutError as error:
            raise ModelUnavailable("The text model took too long.", "timeout") from error

    async def _attempts(
        self,
        model: Model,
        brief: Brief,
        claim: Claim,
        opening: Opening,
        limit: asyncio.Timeout | None = None,
    ) -> str:
        """The first attempt that keeps the rules, as it stands or repaired."""
        for attempt in range(1, ATTEMPTS + 1):
            opening.forget()
            written = await _written(model, brief, opening, limit)
            text = opening.followed_by_the_rest_of(written)
            broken = violations(text, brief, self._lexicon)
            complaints = [violation.complaint for violation in broken]
            refusal = self._refusal(text, brief)
            if refusal:
                complaints.append(_HARMFUL)
            if not complaints:
                kept = "kept" if text == written.strip() else "repaired"
                outcome = kept if await claim(text) else "repeated"
                # After so many attempts, one that was given before is better than none.
                if outcome == kept or attempt == ATTEMPTS:
                    NOTE_ATTEMPTS.labels(model.name, outcome).inc()
                    return text
                broken, complaints = (_GIVEN_LATELY,), [_GIVEN_LATELY.complaint]
            _count_rejected(model.name, attempt, broken, refusal)
            if opening.text:
                # Another attempt would begin otherwise, and comes too late for who is listening.
                break
            brief = replace(brief, complaints=tuple(complaints))
        raise refusal or ContentRulesNotMet(
            "No note that keeps the rules could be written; nothing was charged."
        )

    def _opening(self, brief: Brief, let_go: LetGo | None) -> Opening:
        def endings(opening: str) -> Iterator[str]:
            written = self._endings.of(opening, brief)
            return (note for note in written if self._refusal(note, brief) is None)

        return Opening(brief, self._lexicon, endings, let_go)

    def _refusal(self, text: str, brief: Brief) -> ContentRefused | None:
        """What a model made of a harmless value is its own fault: it is asked again first."""
        try:
            self._filters.check_output(text, brief)
        except ContentRefused as refusal:
            return refusal
        return None


async def _written(model: Model, brief: Brief, opening: Opening, limit: asyncio.Timeout | None) -> str:
    started, text = perf_counter(), ""
    async with aclosing(model.write(brief)) as pieces:
        async for piece in pieces:
            if not text:
                FIRST_TOKEN_SECONDS.labels(model.name).observe(perf_counter() - started)
            text += piece
            if opening.goes(text) and limit is not None:
                _shorten(limit)
            if len(text) > _MOST_LETTERS:
                break
    return text


def _now() -> float:
    return asyncio.get_running_loop().time()


def _shorten(limit: asyncio.Timeout) -> None:
    rest = _now() + _REST_SECONDS
    limit.reschedule(min(rest, limit.when() or rest))


def _count_rejected(
    model: str, attempt: int, broken: Sequence[Violation], refusal: ContentRefused | None
) -> None:
    rules = [violation.rule.value for violation in broken] + ["harmful"] * bool(refusal)
    NOTE_ATTEMPTS.labels(model, "rejected").inc()
    for rule in rules:
        REJECTIONS.labels(model, rule).inc()
    log.info("note_rejected", model=model, attempt=attempt, rules=rules)
