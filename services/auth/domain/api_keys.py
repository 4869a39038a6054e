"""API keys: what a server shows instead of a person's session."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# For people and secret scanners that meet one; the gateway knows a key by it.
PREFIX = "nvk_"
RANDOM_BYTES = 32
# Enough to tell one's keys apart, too little to help a guess.
SHOWN_CHARACTERS = len(PREFIX) + 6

SCOPES = ("perform", "recordings", "settings", "voice")
MOST_KEYS = 20

# A deleted key works for at most this long: tokens verify without a call.
TOKEN_LIVES = timedelta(minutes=5)
# The last use is for people who clean up; a write for each exchange would cost more than it tells.
USE_NOTED_EVERY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ApiKey:
    key_id: str
    user_id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    # Never when absent.
    expires_at: datetime | None
    # Its first characters.
    shown: str
    # SHA-256 of the key. It is 256 random bits, so one round of hashing is enough.
    digest: str = field(repr=False)
    last_used_at: datetime | None = None

    def good_at(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at

    def use_is_news(self, now: datetime) -> bool:
        return self.last_used_at is None or now - self.last_used_at >= USE_NOTED_EVERY

    def token_lives(self, now: datetime) -> timedelta:
        """No token outlives its key."""
        return TOKEN_LIVES if self.expires_at is None else min(TOKEN_LIVES, self.expires_at - now)


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def scopes_of(asked: tuple[str, ...]) -> tuple[str, ...]:
    """All of them when none are named: a key without any scope would look like a person, who may do all."""
    return tuple(scope for scope in SCOPES if scope in asked) or SCOPES
