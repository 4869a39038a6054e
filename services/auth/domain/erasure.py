"""An erasure: an intent that is written down before anything is erased, and a proof at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

# The step that closes the account; nobody can sign in after it.
ACCOUNT = "account"
# Steps of one stage run at once; a stage begins when the one before is done. Credits come last:
# performances that end while they are erased still write into the ledger.
STAGES = ((ACCOUNT,), ("voice", "perform", "content"), ("credits", "audit", "answers"))


class AskedBy(StrEnum):
    USER = "user"
    ADMINISTRATOR = "administrator"
    # Nobody used the account for as long as unused accounts are kept.
    RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom to erase, and what to put in their place where something has to stay."""

    user_id: str
    erasure_id: str
    pseudonym: str


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call found. Not `done`: call again, at once if it found something, else later."""

    counts: Mapping[str, int]
    done: bool = True


@dataclass(frozen=True, slots=True)
class Erasure:
    erasure_id: str
    # A keyed hash: shows for a known user id that it was erased, and tells nobody which ids there were.
    reference: str
    asked_by: AskedBy
    asked_at: datetime
    # The user id, encrypted; gone when the erasure is confirmed, as is the pseudonym.
    sealed: bytes
    pseudonym: str
    # From then on any replica may go on with it; None when nothing is left to do.
    due_at: datetime | None
    done_steps: frozenset[str] = field(default_factory=frozenset)
    # Every service has answered that nothing is left.
    completed_at: datetime | None = None
    # And once more after the last token and the last call that began before have ended.
    confirmed_at: datetime | None = None

    @property
    def state(self) -> str:
        return "done" if self.completed_at else "pending"

    @property
    def closed(self) -> bool:
        return ACCOUNT in self.done_steps
