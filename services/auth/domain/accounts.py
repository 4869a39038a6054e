"""Who a user is, when two names are the same name, and what an activation code looks like."""

import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.auth.domain.errors import PasswordTooWeak
from services.auth.domain.preferences import Preferences

ROLE_USER, ROLE_OPERATOR, ROLE_ADMIN = "user", "operator", "admin"

# The last use is for the retention of unused accounts, which counts in days.
SEEN_NOTED_EVERY = timedelta(days=1)

CODE_LENGTH = 11
# Unless their maker says otherwise.
CODES_LAST = timedelta(days=365)
CODE_ALPHABET = string.ascii_letters + string.digits

SHORTEST_PASSWORD = 8
# The shipped mobile client asks for 6 characters and cannot change.
SHORTEST_LEGACY_PASSWORD = 6


@dataclass(frozen=True, slots=True)
class User:
    user_id: str
    username: str
    email: str
    # Absent for operators whose tokens are made on the command line.
    password_hash: str | None
    created_at: datetime
    roles: tuple[str, ...] = (ROLE_USER,)
    # Absent when the user has the common plan.
    plan: str | None = None
    # Instead of the plan's.
    monthly_limit: int | None = None
    disabled: bool = False
    # Sessions that began before this moment are over.
    signed_out_at: datetime | None = None
    # API keys made before this moment are over: who made them may not be who set the new password.
    password_reset_at: datetime | None = None
    # The last sign-in, give or take a day.
    seen_at: datetime | None = None
    activation_code: str | None = None
    preferences: Preferences = field(default_factory=Preferences)

    def honours_keys_of(self, made_at: datetime) -> bool:
        return not self.disabled and (self.password_reset_at is None or made_at >= self.password_reset_at)

    def seen_is_news(self, now: datetime) -> bool:
        return self.seen_at is None or now - self.seen_at >= SEEN_NOTED_EVERY


@dataclass(frozen=True, slots=True)
class ActivationCode:
    code: str
    expires_at: datetime
    # The codes of one call.
    batch_id: str


def name_key(name: str) -> str:
    """The form under which a username or an email is unique: without regard to case and Unicode form."""
    key = unicodedata.normalize("NFKC", name)
    # One round is not enough for all of Unicode: folding can undo the normal form, and the reverse.
    while (folded := unicodedata.normalize("NFKC", key.casefold())) != key:
        key = folded
    return key


def shown_name(name: str) -> str:
    """The form in which a username is kept for people to read."""
    return unicodedata.normalize("NFC", name)


def new_code(choose: Callable[[str], str]) -> str:
    """`choose` picks one character; outside of tests it is `secrets.choice`."""
    return "".join(choose(CODE_ALPHABET) for _ in range(CODE_LENGTH))


def require_strong(password: str, shortest: int) -> None:
    """Raises PasswordTooWeak."""
    if len(unicodedata.normalize("NFKC", password)) < shortest:
        raise PasswordTooWeak(f"The password needs at least {shortest} characters.")
