"""What can happen to a performance, a speech or a recording that its caller may know."""

import asyncio
from typing import ClassVar, Final
from uuid import UUID

import structlog

from services.kernel.errors import Kind, ServiceError

log = structlog.get_logger()

# Why a performance was cancelled.
LEFT: Final = "caller left"


class ValueTooLong(ServiceError):
    kind, reason = Kind.INVALID, "VALUE_TOO_LONG"
    action = "Send a shorter value."


class DateNotReal(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_REQUEST"
    action = "Send a date of the calendar as YYYY-MM-DD."


class MomentNotReal(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_REQUEST"
    action = "Send a day as YYYY-MM-DD, or a moment as 2026-03-01T08:30:00Z."


class StillPerforming(ServiceError):
    kind, reason = Kind.DEADLINE, "DEADLINE_EXCEEDED"
    action = "Ask the same again within a minute, or with the same Idempotency-Key, to get its answer."


class PerformanceTooSlow(ServiceError):
    kind, reason = Kind.DEADLINE, "DEADLINE_EXCEEDED"
    action = "Try again."


class PerformanceCrashed(ServiceError):
    kind, reason = Kind.INTERNAL, "INTERNAL"
    action = "Try again; if it goes on, report the request_id."


class PerformanceNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "PERFORMANCE_NOT_FOUND"
    action = "Check the id; what came to nothing is forgotten after a day."


class PerformanceInterrupted(ServiceError):
    """The process that performed is gone, or another one has taken over."""

    kind, reason = Kind.UNAVAILABLE, "PERFORMANCE_INTERRUPTED"
    action = "Try again."
    retry_after_seconds = 1


class CallerLeft(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "CALLER_LEFT"
    action = "Try again."
    retry_after_seconds = 1


class TextTooLong(ServiceError):
    """Longer than the credits that were set aside for it."""

    kind, reason = Kind.UPSTREAM, "CONTENT_RULES_NOT_MET"
    action = "Try again."


class AudioNotWhole(ServiceError):
    kind, reason = Kind.UPSTREAM, "AUDIO_NOT_WHOLE"
    action = "Try again."


class VoiceMissing(ServiceError):
    """The provider no longer has the leased voice. Callers meet it only when a second one is gone as well."""

    kind, reason = Kind.CONFLICT, "PROVIDER_VOICE_MISSING"
    action = "Try again; the voice is made anew from its sample."


# What the speech service says of an engine, or its provider, that is away.
ENGINE_AWAY: Final = "SPEECH_ENGINE_UNAVAILABLE"


class VoiceNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "VOICE_NOT_FOUND"
    action = 'Send "me" as the voice, or your own voice clone id.'


class SpeechUnderWay(ServiceError):
    kind, reason = Kind.DEADLINE, "SPEECH_UNDER_WAY"
    action = "Ask again with the same Idempotency-Key: then it is given from its beginning."


class RecordingNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "RECORDING_NOT_FOUND"
    action = "List the recordings to see which there are."


class RecordingsFull(ServiceError):
    kind, reason = Kind.CONFLICT, "RECORDINGS_FULL"
    action = "Delete recordings that you no longer need."


class PageTokenInvalid(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_PAGE_TOKEN"
    action = "Start again from the first page."


class PerformBusy(ServiceError):
    """All places are taken: nothing was begun, nothing is kept of it."""

    kind, reason = Kind.UNAVAILABLE, "PERFORM_BUSY"
    action = "Try again after the seconds named in Retry-After."
    retry_after_seconds = 2


class StorageUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


class RecordingStoreUnavailable(StorageUnavailable):
    reason = "RECORDING_STORE_UNAVAILABLE"


class NotReady(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "NOT_READY"
    action = "Wait until the services named are back."
    retry_after_seconds = 2


def as_service_error(failure: BaseException) -> ServiceError:
    """What the waiting caller gets; a cancelled performance must not look like a cancelled caller."""
    if isinstance(failure, ServiceError):
        return failure
    if isinstance(failure, TimeoutError):
        return PerformanceTooSlow("The performance took too long.")
    if isinstance(failure, asyncio.CancelledError):
        kind = CallerLeft if LEFT in failure.args else PerformanceInterrupted
        return kind("The performance was stopped before the memo was whole.")
    log.error("performance_crashed", exc_info=failure)
    return PerformanceCrashed("Something went wrong on our side.")


def of_performance(performance_id: UUID, error: ServiceError) -> ServiceError:
    """The same error, with the id under which its performance can be looked up."""
    error.headers = (("performance-id", str(performance_id)),)
    return error


class _Remembered(ServiceError):
    """An earlier failure, told again."""

    kind: ClassVar[Kind] = Kind.INTERNAL
    reason: ClassVar[str] = "INTERNAL"


def remembered(kind: int, reason: str, action: str, retry_after_seconds: int) -> type[ServiceError]:
    """The error type of a failure that was written down."""
    body = {
        "kind": Kind(kind),
        "reason": reason,
        "action": action,
        "retry_after_seconds": retry_after_seconds,
    }
    return type("Remembered", (_Remembered,), body)
