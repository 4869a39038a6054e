"""What time it is."""

from datetime import UTC, datetime


def clock() -> datetime:
    """In milliseconds, as the database keeps moments: what was stored reads back the same."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
