"""What can come of asking for a thought, other than a thought."""

from services.content.domain.limits import LONGEST_VALUE
from services.content.domain.routines import Routine
from services.kernel.errors import Kind, ServiceError


class RoutineUnknown(ServiceError):
    kind, reason = Kind.INVALID, "ROUTINE_TYPE_UNKNOWN"
    action = f"Send one of: {', '.join(Routine)}."


class ValueTooLong(ServiceError):
    kind, reason = Kind.INVALID, "VALUE_TOO_LONG"
    action = f"Send a value of at most {LONGEST_VALUE} characters."


class ValueNotSpeakable(ServiceError):
    kind, reason = Kind.INVALID, "VALUE_NOT_SPEAKABLE"
    action = "Send a value on one line, with at least one visible character."


class LanguageNotWritten(ServiceError):
    kind, reason = Kind.INVALID, "LANGUAGE_NOT_WRITTEN"
    action = "Set the voice language to one of those that the message names."


class ContentRulesNotMet(ServiceError):
    kind, reason = Kind.UPSTREAM, "CONTENT_RULES_NOT_MET"
    action = "Try again; nothing was charged."


class ModelUnavailable(ServiceError):
    """`cause` is one of a handful of words, fit for a log and a metric."""

    kind, reason = Kind.UPSTREAM, "TEXT_MODEL_UNAVAILABLE"
    action = "Try again in a few seconds; nothing was charged."

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class ModelRefused(ServiceError):
    kind, reason = Kind.REFUSED, "CONTENT_REFUSED"
    action = "Use another value."


class ContentRefused(ServiceError):
    """`category` says in one word why. The message says it in general words and never quotes."""

    kind, reason = Kind.REFUSED, "CONTENT_REFUSED"
    action = "Use another value."

    def __init__(self, message: str, category: str) -> None:
        super().__init__(message)
        self.category = category


class SelfHarmRefused(ContentRefused):
    action = (
        "Use another value. If this is about you: you are not alone, and somebody you trust or a local "
        "helpline will listen."
    )


class RecentNotesUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "RECENT_NOTES_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


class AnswersUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "ANSWERS_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


class ThoughtsUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "THOUGHTS_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2
