"""What the routes that spend read beside the message itself."""

from typing import Any

from services.kernel.caller import caller
from services.perform.domain import check_key


def idempotency_key() -> str:
    """Empty without one."""
    key = caller().headers.get("idempotency-key")
    if key is None:
        return ""
    check_key(key)
    return key


def join_seconds(longest: float, context: Any) -> float:
    """Waiting for an earlier request ends just before the caller's deadline, to say so."""
    remaining = context.time_remaining()
    return longest if remaining is None else min(longest, remaining * 0.95)
