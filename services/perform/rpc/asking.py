"""What the routes that spend read beside the message itself."""

from typing import Any, Final

# The gateway takes a stream that says nothing for much longer than this for dead.
SILENT_SECONDS: Final = 15.0


def join_seconds(longest: float, context: Any) -> float:
    """Waiting for an earlier request ends just before the caller's deadline, to say so."""
    remaining = context.time_remaining()
    return longest if remaining is None else min(longest, remaining * 0.95)
