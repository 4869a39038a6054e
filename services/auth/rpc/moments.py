"""Moments, as the contracts have them."""

from datetime import UTC, datetime
from typing import Any


def moment_of(given: Any) -> datetime:
    # The store keeps milliseconds; what is answered must read back the same.
    found: datetime = given.ToDatetime(tzinfo=UTC)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)
