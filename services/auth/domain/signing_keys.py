"""When a signing key is published, signs, only verifies, and is over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class KeyState(StrEnum):
    # Published, so that all verifiers know it before it signs.
    WAITING = "waiting"
    SIGNING = "signing"
    # Its tokens are still out there.
    VERIFYING = "verifying"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class KeyTerm:
    generation: int
    kid: str
    signs_from: datetime
    # Set when it signed a token that lives longer than common ones.
    needed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyTimes:
    # From publishing a key to its first signature.
    publish: timedelta
    # The longest that a common token lives.
    tokens_live: timedelta


def signing(terms: Sequence[KeyTerm], now: datetime) -> KeyTerm:
    """Which key signs; `terms` are sorted by generation.

    The oldest signs whatever the clocks of other processes say: some key must.
    """
    ready = [term for term in terms[1:] if term.signs_from <= now]
    return (ready or [terms[0]])[-1]


def ends_at(term: KeyTerm, terms: Sequence[KeyTerm], times: KeyTimes) -> datetime | None:
    """When the last token of this key ends; None as long as no newer key is there."""
    newer = [other.signs_from for other in terms if other.generation > term.generation]
    if not newer:
        return None
    # A replica that meets the newer key late still signs with this one for a while.
    last = min(newer) + times.publish + times.tokens_live
    return max(last, term.needed_until or last)


def state(term: KeyTerm, terms: Sequence[KeyTerm], times: KeyTimes, now: datetime) -> KeyState:
    end = ends_at(term, terms, times)
    if end is not None and end <= now:
        return KeyState.ENDED
    current = signing(terms, now)
    if term.generation > current.generation:
        return KeyState.WAITING
    return KeyState.SIGNING if term == current else KeyState.VERIFYING
