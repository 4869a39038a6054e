"""When a refresh token is good, and what its second use means."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Session:
    """One login and all refresh tokens that followed from it: a family."""

    session_id: str
    user_id: str
    created_at: datetime
    # Refreshing does not extend it.
    expires_at: datetime
    # SHA-256 of the only refresh token that is good now.
    current: str
    previous: str | None = None
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None
    # What the client called itself.
    client: str = ""

    @property
    def last_used_at(self) -> datetime:
        return self.rotated_at or self.created_at

    def live(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at

    def outlives(self, signed_out_at: datetime | None) -> bool:
        """False for a session that had begun when all of its user's were ended."""
        return signed_out_at is None or self.created_at >= signed_out_at


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request came from; both are empty when unknown."""

    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    session_id: str
    generation: int
    secret: bytes = field(repr=False)
    # What the client holds.
    text: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What is kept of it. The secret is 256 random bits, so one round of hashing is enough."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Presented(Enum):
    CURRENT = auto()
    # Its successor was made moments ago: the answer got lost, or two requests raced.
    JUST_ROTATED = auto()
    REUSED = auto()
    ENDED = auto()


def judge(session: Session, digest: str, now: datetime, grace: timedelta) -> Presented:
    """What it means that this token, which is one of the family's, is presented now."""
    if not session.live(now):
        return Presented.ENDED
    if digest == session.current:
        return Presented.CURRENT
    fresh = session.rotated_at is not None and now - session.rotated_at <= grace
    if digest == session.previous and fresh:
        return Presented.JUST_ROTATED
    return Presented.REUSED
