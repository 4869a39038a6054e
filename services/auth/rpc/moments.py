"""Moments, as the contracts write them."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def stamp_or_none(moment: datetime | None) -> Timestamp | None:
    """Absent means absent."""
    return None if moment is None else stamp(moment)


def moment_of(given: Any) -> datetime:
    # The store keeps milliseconds; what is answered must read back the same.
    found: datetime = given.ToDatetime(tzinfo=UTC)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)
