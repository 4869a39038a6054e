"""Who did what to whom: the entries of the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """An administrator's user id, "cli:" with the operating system's user, or "activation-code"."""

    name: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    entry_id: str
    at: datetime
    actor: Actor
    # For example user_updated; "_failed" at its end says that an earlier entry came to nothing.
    action: str
    # What it was done to, for example a user id.
    subject: str
    # Before and after, or an amount and a reason; never a secret.
    detail: Mapping[str, str] = field(default_factory=dict)
