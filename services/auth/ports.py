"""What the use cases need from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.auth.domain.accounts import ActivationCode, User
from services.auth.domain.credits import Balance, Entry
from services.auth.domain.preferences import Preferences, Setting
from services.auth.domain.sessions import RefreshToken, Session


class Users(Protocol):
    """All may raise StorageUnavailable."""

    async def add(self, user: User) -> None:
        """Raises UsernameTaken, EmailTaken, or ActivationCodeInvalid when the code made a user before."""

    async def get(self, user_id: str) -> User:
        """Raises UserNotFound."""

    async def named(self, name: str) -> User | None:
        """By username or email."""

    async def made_by(self, code: str) -> User | None:
        """The user whom an activation code made."""

    async def newest(self, until: datetime, limit: int) -> list[User]: ...

    async def replace_hash(self, user_id: str, old: str, new: str) -> None:
        """Change the password hash unless it was changed meanwhile."""

    async def change_settings(self, user_id: str, changes: Mapping[str, Setting]) -> Preferences:
        """Raises UserNotFound."""


class Codes(Protocol):
    async def add(self, codes: Sequence[ActivationCode], made_by: str, now: datetime) -> None: ...

    async def claimable(self, code: str, now: datetime) -> bool: ...

    async def claim(self, code: str, claimant: str, now: datetime, until: datetime) -> bool:
        """Keep the code for one registration; the claim ends by itself when that registration dies."""

    async def give_back(self, code: str, claimant: str, now: datetime) -> None: ...

    async def mark_used(self, code: str, user_id: str, now: datetime) -> None: ...


class Sessions(Protocol):
    async def add(self, session: Session) -> None: ...

    async def get(self, session_id: str) -> Session | None: ...

    async def rotate(self, session_id: str, old: str, new: str, now: datetime) -> bool:
        """Replace the token if `old` is still the current one."""

    async def revoke(self, session_id: str, why: str, now: datetime) -> bool:
        """False when it had ended already."""


class Ledger(Protocol):
    """Each performance is reserved once and settled or released once, whatever is repeated or races."""

    async def reserve(self, wanted: Entry, limit: int) -> Entry:
        """The entry as it stands: `wanted`, or what an earlier call made of it. Raises CreditsExhausted."""

    async def settle(self, user_id: str, performance_id: str, cost: int, limit: int, now: datetime) -> Entry:
        """The entry as it stands afterwards. Raises ReservationNotFound."""

    async def release(self, user_id: str, performance_id: str, now: datetime) -> Entry:
        """The entry as it stands afterwards."""

    async def balance(self, user_id: str, period: str) -> Balance: ...

    async def sweep(self, now: datetime) -> list[Entry]:
        """Give back what expired, archive old outcomes; returns what expired."""


@dataclass(frozen=True, slots=True)
class Verdict:
    matches: bool
    # Set when the hash was made with other parameters than today's.
    outdated: bool = False


class Passwords(Protocol):
    """Both may raise PasswordsBusy."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, password: str, known: str | None) -> Verdict:
        """Takes as long when there is no hash to compare with."""


class RefreshTokens(Protocol):
    def first(self, session_id: str) -> RefreshToken: ...

    def successor(self, token: RefreshToken) -> RefreshToken:
        """Always the same one for the same token."""

    def read(self, text: str) -> RefreshToken:
        """Raises RefreshTokenInvalid for what was not made here."""


class AccessTokens(Protocol):
    def mint(self, user: User, session_id: str, now: datetime, lives: timedelta) -> str: ...


@dataclass(frozen=True, slots=True)
class SealedKey:
    generation: int
    kid: str
    # The private half, encrypted.
    sealed: bytes
    signs_from: datetime


class Keys(Protocol):
    async def all(self) -> list[SealedKey]:
        """Oldest first."""

    async def add(self, key: SealedKey) -> bool:
        """False when this generation was made by another process."""
