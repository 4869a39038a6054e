"""What the use cases need from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.auth.domain.accounts import ActivationCode, User
from services.auth.domain.administration import UserChanges
from services.auth.domain.api_keys import ApiKey
from services.auth.domain.audit import AuditEntry
from services.auth.domain.codes import CodeRecord
from services.auth.domain.credits import Balance, Entry
from services.auth.domain.erasure import Erased, Erasure, Subject
from services.auth.domain.paging import Place
from services.auth.domain.preferences import Preferences, Setting
from services.auth.domain.sessions import RefreshToken, Session
from services.auth.domain.signing_keys import KeyTerm
from services.auth.domain.slowdown import Counted


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

    async def note_seen(self, user_id: str, moment: datetime) -> None:
        """When the account was last used, about."""

    async def unseen(self, since: datetime, limit: int) -> list[User]:
        """Those last seen before that."""

    async def page(self, after: Place | None, limit: int) -> list[User]:
        """Newest first; from the beginning when there is no place."""

    async def administrators(self, limit: int) -> list[User]:
        """Those who may sign in."""

    async def change(self, user_id: str, changes: UserChanges) -> None:
        """Raises UserNotFound."""

    async def replace_hash(self, user_id: str, old: str, new: str) -> None:
        """Change the password hash unless it was changed meanwhile."""

    async def reset_password(self, user_id: str, new: str, code: str, now: datetime) -> bool:
        """Set the hash and end the sessions and the API keys, once for each code."""

    async def sign_out(self, user_id: str, now: datetime) -> None:
        """End all sessions that began before now."""

    async def change_settings(self, user_id: str, changes: Mapping[str, Setting]) -> Preferences:
        """Raises UserNotFound."""


class Codes(Protocol):
    async def add(self, codes: Sequence[ActivationCode], made_by: str, now: datetime) -> None: ...

    async def claimable(self, code: str, now: datetime) -> bool: ...

    async def claim(self, code: str, claimant: str, now: datetime, until: datetime) -> bool:
        """Keep the code for one registration; the claim ends by itself when that registration dies."""

    async def give_back(self, code: str, claimant: str, now: datetime) -> None: ...

    async def mark_used(self, code: str, user_id: str, now: datetime) -> None: ...

    async def spend(self, code: str, user_id: str | None, now: datetime) -> bool:
        """Use the code up for a password reset of this user; True also when it was for that before.

        Without a user it spends nothing, after the same work.
        """

    async def page(self, after: Place | None, limit: int) -> list[CodeRecord]:
        """Newest first; from the beginning when there is no place."""

    async def batch(self, batch_id: str) -> list[CodeRecord]:
        """All codes that one call made. Raises CodeBatchNotFound."""

    async def revoke(self, code: str, now: datetime) -> None:
        """Safe to repeat. Raises ActivationCodeNotFound, ActivationCodeSpent."""


class Sessions(Protocol):
    async def add(self, session: Session) -> None: ...

    async def get(self, session_id: str) -> Session | None: ...

    async def rotate(self, session_id: str, old: str, new: str, now: datetime) -> bool:
        """Replace the token if `old` is still the current one."""

    async def note_use(self, session_id: str, now: datetime) -> None: ...

    async def revoke(self, session_id: str, why: str, now: datetime) -> bool:
        """False when it had ended already."""

    async def revoke_all(self, user_id: str, why: str, now: datetime) -> int:
        """How many ended by it."""

    async def of(self, user_id: str, now: datetime, limit: int) -> list[Session]:
        """Those that live, newest first."""


class Ledger(Protocol):
    """Each performance is reserved once and settled or released once, whatever is repeated or races."""

    async def reserve(self, wanted: Entry, limit: int, began_at: datetime | None = None) -> Entry:
        """`wanted`, or what an earlier call made of it; quicker when just begun. Raises CreditsExhausted."""

    async def find(self, user_id: str, entry_id: str, now: datetime) -> Entry | None: ...

    async def adjust(self, wanted: Entry, limit: int) -> Entry:
        """The entry as it stands: `wanted`, or that of an earlier call. Raises CreditsExhausted."""

    async def settle(self, user_id: str, performance_id: str, cost: int, limit: int, now: datetime) -> Entry:
        """The entry as it stands afterwards. Raises ReservationNotFound."""

    async def settle_as_reserved(self, reserved: Entry, cost: int, now: datetime) -> Entry | None:
        """The same in one write, for who knows what was set aside; None when that is no longer so, or when
        the cost is above it."""

    async def release(self, user_id: str, performance_id: str, now: datetime) -> Entry:
        """The entry as it stands afterwards."""

    async def balance(self, user_id: str, period: str) -> Balance: ...

    async def balances(self, user_ids: Sequence[str], period: str) -> Mapping[str, Balance]: ...

    async def sweep(self, now: datetime) -> list[Entry]:
        """Give back what expired, archive old outcomes; returns what expired."""


class Attempts(Protocol):
    """Both raise AttemptsUnavailable."""

    async def begin(self, counted: Sequence[Counted], now: datetime) -> timedelta:
        """How long to wait first; if not at all, the attempt counts as a failure from now on."""

    async def take_back(self, counted: Sequence[Counted], forgotten: Sequence[Counted]) -> None:
        """One failure less for each that is counted, none left for each that is forgotten."""


class Statement(Protocol):
    async def page(self, user_id: str, after: Place | None, limit: int, now: datetime) -> list[Entry]:
        """Newest first; from the beginning when there is no place."""


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


class ApiKeys(Protocol):
    async def add(self, key: ApiKey, now: datetime) -> None:
        """Raises ApiKeysExhausted, also when many are added at once."""

    async def of_user(self, user_id: str, now: datetime) -> list[ApiKey]:
        """Those that have not ended, newest first."""

    async def get(self, key_id: str) -> ApiKey | None: ...

    async def by_digest(self, digest: str) -> ApiKey | None: ...

    async def note_use(self, key_id: str, now: datetime) -> None: ...

    async def delete(self, key_id: str) -> bool:
        """False when there was none."""

    async def delete_all(self, user_id: str) -> None: ...


class ApiKeyTokens(Protocol):
    def mint_for_key(self, key: ApiKey, now: datetime, lives: timedelta) -> str: ...


class AuditEntries(Protocol):
    """Append-only: there is no call that changes or removes an entry."""

    async def insert(self, entry: AuditEntry) -> None: ...

    async def page(self, after: Place | None, limit: int) -> list[AuditEntry]:
        """Newest first; from the beginning when there is no place."""


class AccessTokens(Protocol):
    def mint(self, user: User, session_id: str, now: datetime, lives: timedelta) -> str: ...


@dataclass(frozen=True, slots=True)
class SealedKey:
    term: KeyTerm
    # The private half, encrypted.
    sealed: bytes


class Keys(Protocol):
    async def all(self) -> list[SealedKey]:
        """Oldest first."""

    async def add(self, key: SealedKey) -> bool:
        """False when this generation was made by another process."""

    async def keep_until(self, generation: int, moment: datetime) -> None:
        """Not to be dropped before; an earlier moment changes nothing."""

    async def drop(self, generation: int) -> None: ...


class Holder(Protocol):
    """Whatever keeps something about users: a part of this service, or another service."""

    async def erase(self, subject: Subject, now: datetime) -> Erased:
        """All of it, or a part. Safe to repeat."""


class ErasureSubjects(Protocol):
    def reference(self, user_id: str) -> str:
        """Always the same one for the same user; nobody can find the user by it."""

    def seal(self, user_id: str, erasure_id: str) -> bytes: ...

    def open(self, sealed: bytes, erasure_id: str) -> str: ...


class ErasureRecords(Protocol):
    """Erasures under way, and the proofs of those that are through."""

    async def add(self, erasure: Erasure) -> Erasure | None:
        """None when it was added, else the one that this user has already."""

    async def of(self, reference: str) -> Erasure | None: ...

    async def due(self, now: datetime, limit: int) -> list[Erasure]: ...

    async def take(self, erasure: Erasure, until: datetime) -> bool:
        """Make it ours until then; False when somebody else was quicker."""

    async def count(self, erasure_id: str, step: str, counts: Mapping[str, int]) -> None:
        """What was found is added to what was found before."""

    async def step_done(self, erasure_id: str, step: str, now: datetime) -> None: ...

    async def postpone(self, erasure_id: str, until: datetime) -> None: ...

    async def complete(self, erasure_id: str, now: datetime, look_again: datetime, pseudonym: str) -> None:
        """Nothing was found to be left. The pseudonym is for what the second look may still find."""

    async def confirm(self, erasure_id: str, now: datetime) -> None:
        """Only the proof stays."""


class VoiceOf(Protocol):
    async def voice_of(self, user_id: str) -> Mapping[str, Any]:
        """What the voice service keeps about a user, without the audio; no "sample" without one."""


class Recordings(Protocol):
    async def recordings_of(self, user_id: str, token: str) -> tuple[list[Mapping[str, Any]], str]:
        """A page, newest first, and the token of the next; empty for the first and after the last."""


class Aging(Protocol):
    """Each removes a part of what is older, and tells how much."""

    async def drop_sessions(self, ended_before: datetime) -> int: ...

    async def drop_audit_entries(self, before: datetime) -> int: ...

    async def drop_credit_entries(self, before: datetime) -> int: ...
