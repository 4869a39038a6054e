"""Our own errors: a kind for the transport, a stable reason for programs, a sentence for people."""

from enum import Enum
from typing import ClassVar


class Kind(Enum):
    """What happened, by the HTTP status that callers see."""

    INVALID = 400
    UNAUTHENTICATED = 401
    UNPAID = 402
    DENIED = 403
    NOT_FOUND = 404
    CONFLICT = 409
    TOO_LARGE = 413
    WRONG_MEDIA = 415
    RANGE = 416
    REFUSED = 422
    EXHAUSTED = 429
    INTERNAL = 500
    UPSTREAM = 502
    UNAVAILABLE = 503
    DEADLINE = 504


class ServiceError(Exception):
    """An outcome that callers may see: `reason` never changes, the message may.

    `action` tells the caller what to do next. `retry_after_seconds` becomes Retry-After.
    """

    kind: ClassVar[Kind]
    reason: ClassVar[str]
    action: ClassVar[str] = ""
    # A class says it, or an instance that knows better.
    retry_after_seconds: int = 0
    # Said beside the error, where a header belongs to it.
    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
