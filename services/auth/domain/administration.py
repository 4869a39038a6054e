"""What an administrator may change about a user, and how the change is told."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from services.auth.domain.accounts import ROLE_ADMIN, ROLE_OPERATOR, ROLE_USER, User

# In the order in which they are kept and shown.
ROLES = (ROLE_USER, ROLE_OPERATOR, ROLE_ADMIN)


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What is None stays as it is."""

    roles: tuple[str, ...] | None = None
    disabled: bool | None = None
    monthly_limit: int | None = None
    plan: str | None = None
    # Ends a limit of the user's own.
    follows_plan: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """What changes, under the names that a user has for it."""
        named = {
            "roles": self.roles,
            "disabled": self.disabled,
            "monthly_limit": self.monthly_limit,
            "plan": self.plan,
        }
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        return {**given, "monthly_limit": None} if self.follows_plan else given

    def applied_to(self, user: User) -> User:
        return replace(user, **self.fields)

    def told_of(self, user: User) -> dict[str, str]:
        """Before and after, of what really changes."""
        told = {}
        for name, after in self.fields.items():
            before = getattr(user, name)
            if before != after:
                told[f"{name}_before"], told[f"{name}_after"] = _plain(before), _plain(after)
        return told

    def undone(self, user: User) -> "UserChanges":
        """What makes roles and access of this user what they were before."""
        return UserChanges(roles=user.roles, disabled=user.disabled)


def roles_of(asked: Iterable[str]) -> tuple[str, ...]:
    """Nobody is less than a user."""
    wanted = {ROLE_USER, *asked}
    return tuple(role for role in ROLES if role in wanted)


def administers(user: User) -> bool:
    return ROLE_ADMIN in user.roles and not user.disabled


def _plain(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return " ".join(value)
        case _:
            return str(value)
