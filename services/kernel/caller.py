"""Who is calling, under which request, until when: what the gateway verified, carried through a request."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from services.kernel.errors import Kind, ServiceError


class UserNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "USER_NOT_FOUND"
    action = "Check the user id, or use the word me."


class SignInRequired(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "UNAUTHENTICATED"
    action = "Log in and send the access token."


class OperatorRequired(ServiceError):
    kind, reason = Kind.DENIED, "OPERATOR_REQUIRED"
    action = "Ask an operator."


class ScopeMissing(ServiceError):
    kind, reason = Kind.DENIED, "SCOPE_MISSING"
    action = "Make an API key with this scope, or log in."


class AdminRequired(ServiceError):
    kind, reason = Kind.DENIED, "ADMIN_REQUIRED"
    action = "Ask an administrator."


@dataclass(frozen=True, slots=True)
class Caller:
    """`user_id` is empty for strangers and for calls between services."""

    user_id: str = ""
    roles: frozenset[str] = frozenset()
    # What an API key may do; None for a signed-in user, who may do all.
    scopes: frozenset[str] | None = None
    session_id: str = ""
    request_id: str = ""
    traceparent: str = ""
    # The path as the client wrote it; empty for calls between services.
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def is_operator(self) -> bool:
        return self.is_admin or "operator" in self.roles

    @property
    def legacy_client(self) -> bool:
        """The shipped mobile client, which cannot change: it calls /api without a version."""
        return self.path.startswith("/api/")


_caller: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - frozen


def caller() -> Caller:
    """The caller of the request being served."""
    return _caller.get()


def set_caller(who: Caller) -> None:
    _caller.set(who)


_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


def limit_to(seconds: float | None) -> None:
    """Bound all further calls of this request to others; None for as long as each may take."""
    _ends_at.set(None if seconds is None else monotonic() + seconds)


def within_limit(seconds: float) -> float:
    """So many seconds, or what is left of the request's own; never zero, which would mean no limit."""
    ends_at = _ends_at.get()
    return seconds if ends_at is None else max(0.001, min(seconds, ends_at - monotonic()))


def from_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
    """Read what the gateway put in; it strips these names from outside requests."""
    found: dict[str, Any] = {key: value for key, value in metadata if isinstance(value, str)}
    return Caller(
        user_id=found.get("x-user-id", ""),
        roles=frozenset(found.get("x-user-roles", "").split()),
        scopes=frozenset(found["x-user-scopes"].split()) if "x-user-scopes" in found else None,
        session_id=found.get("x-session-id", ""),
        request_id=found.get("x-request-id", ""),
        traceparent=found.get("traceparent", ""),
        path=found.get("x-envoy-original-path", ""),
        headers=found,
    )


def is_caller(user_id: str) -> bool:
    """Whether a request means its own caller: by their id, as `me`, or by naming nobody."""
    who = caller()
    return bool(who.user_id) and user_id in {"", "me", who.user_id}


def owner(user_id: str) -> str:
    """Whose things a route with a `user_id` is about: the caller's own, or anybody's for an admin.

    Raises UserNotFound for somebody else's, exactly as for a user that does not exist.
    """
    who = caller()
    if is_caller(user_id):
        return who.user_id
    if who.is_admin:
        return user_id
    raise UserNotFound("There is no such user.")


def self_only(user_id: str) -> str:
    """The caller, for what not even an administrator may touch. Raises UserNotFound."""
    if is_caller(user_id):
        return caller().user_id
    raise UserNotFound("There is no such user.")
