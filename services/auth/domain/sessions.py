"""When a refresh token is good, and what its second use means."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

# For people and secret scanners that meet one; the gateway knows a session's cookie by it.
COOKIE_PREFIX = "nvs_"
# The last use is for people who look at their sessions; noting each would cost more than it tells.
USE_NOTED_EVERY = timedelta(minutes=5)


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
    # SHA-256 of the cookie's secret; empty for a session without a cookie.
    cookie: str = field(default="", repr=False)
    # When its cookie was last exchanged, about.
    seen_at: datetime | None = None

    @property
    def last_used_at(self) -> datetime:
        return max(moment for moment in (self.created_at, self.rotated_at, self.seen_at) if moment)

    def opened_by(self, cookie: "SessionCookie") -> bool:
        return bool(self.cookie) and hmac.compare_digest(self.cookie, cookie.digest)

    def use_is_news(self, now: datetime) -> bool:
        return now - self.last_used_at >= USE_NOTED_EVERY

    def live(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at

    def outlives(self, signed_out_at: datetime | None) -> bool:
        """False for a session that had begun when all of its user's were ended."""
        return signed_out_at is None or self.created_at >= signed_out_at


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """What a client without headers of its own shows for as long as its session lasts."""

    session_id: str
    # 256 random bits as text.
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        return COOKIE_PREFIX + self.session_id.replace("-", "") + self.secret

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()


def read_cookie(text: str) -> SessionCookie | None:
    """None for what has not the form of one."""
    found = re.fullmatch(COOKIE_PREFIX + r"([0-9a-f]{32})([\w-]{43})", text, re.ASCII)
    return SessionCookie(str(UUID(found[1])), found[2]) if found else None


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
