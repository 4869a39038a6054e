"""What became of an activation code."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.auth.domain.paging import Place


class CodeState(StrEnum):
    UNUSED = "unused"
    USED = "used"
    REVOKED = "revoked"
    # Never kept: time makes it of an unused code.
    EXPIRED = "expired"


class CodeUse(StrEnum):
    REGISTRATION = "registration"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - what a code was good for  # pragma: allowlist secret


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """One code, and who used it when."""

    code: str
    batch_id: str
    created_at: datetime
    expires_at: datetime
    # The administrator, or "cli" with the operating system's user.
    made_by: str
    kept_state: CodeState
    used_by: str = ""
    used_for: CodeUse | None = None
    used_at: datetime | None = None

    def state(self, now: datetime) -> CodeState:
        if self.kept_state is CodeState.UNUSED and self.expires_at <= now:
            return CodeState.EXPIRED
        return self.kept_state

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.code)
