"""How a call to this service may end when it does not end well."""

from datetime import timedelta
from math import ceil

from services.kernel.errors import Kind, ServiceError


class ActivationCodeInvalid(ServiceError):
    """Unknown, used, revoked and expired codes fail alike, so that nobody learns which codes exist."""

    kind, reason = Kind.INVALID, "ACTIVATION_CODE_INVALID"
    action = "Check the activation code, or ask for a new one."


class ActivationCodeNotFound(ServiceError):
    """For administrators; strangers hear ActivationCodeInvalid."""

    kind, reason = Kind.NOT_FOUND, "ACTIVATION_CODE_NOT_FOUND"
    action = "Check the code; its letters may be capital or small."


class ActivationCodeSpent(ServiceError):
    kind, reason = Kind.CONFLICT, "ACTIVATION_CODE_SPENT"
    action = "Look up who used it (GET /v1/admin/activation-codes)."


class CodeBatchNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "CODE_BATCH_NOT_FOUND"
    action = "Use a batch_id of the list of codes (GET /v1/admin/activation-codes)."


class UsernameTaken(ServiceError):
    kind, reason = Kind.CONFLICT, "USERNAME_TAKEN"
    action = "Choose another username; the activation code is still good."


class EmailTaken(ServiceError):
    kind, reason = Kind.CONFLICT, "EMAIL_TAKEN"
    action = "Use another email, or log in; the activation code is still good."


class PasswordTooWeak(ServiceError):
    kind, reason = Kind.INVALID, "PASSWORD_TOO_WEAK"
    action = "Choose a longer password."


class PasswordBreached(ServiceError):
    kind, reason = Kind.INVALID, "PASSWORD_BREACHED"
    action = "Choose a password that nobody else would think of, for example four unrelated words."


class SignInSlowed(ServiceError):
    """After too many failures; passes by itself."""

    kind, reason = Kind.EXHAUSTED, "LOGIN_SLOWED"
    action = "Wait for the seconds named in Retry-After, then try again."
    retry_after_seconds = 1

    def __init__(self, wait: timedelta) -> None:
        super().__init__("There were too many failed attempts.")
        self.retry_after_seconds = max(1, ceil(wait.total_seconds()))


class AttemptsUnavailable(Exception):
    """Failed attempts cannot be counted right now. Never reaches a caller."""


class SessionNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "SESSION_NOT_FOUND"
    action = "List the sessions (GET /v1/auth/sessions) and use one of their ids."


class SigningKeyWaiting(ServiceError):
    kind, reason = Kind.CONFLICT, "SIGNING_KEY_WAITING"
    action = "Wait until the newest key signs, then rotate again."


class CredentialsInvalid(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "CREDENTIALS_INVALID"
    action = "Check the username and the password."


class RefreshTokenInvalid(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"
    action = "Log in again."


class SessionEnded(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "SESSION_ENDED"
    action = "Log in again."


class DateNotReal(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_REQUEST"
    action = "Send a date of the calendar as YYYY-MM-DD."


class CreditsExhausted(ServiceError):
    kind, reason = Kind.UNPAID, "CREDITS_EXHAUSTED"
    action = "Wait until the month turns, or ask for a higher limit."


class CreditsSpent(ServiceError):
    kind, reason = Kind.CONFLICT, "CREDITS_SPENT"
    action = "Take fewer credits: not more than the month has left."


class AdjustmentIdReused(ServiceError):
    kind, reason = Kind.CONFLICT, "ADJUSTMENT_ID_REUSED"
    action = "Make a new adjustment_id for another amount or reason."


class PlanUnknown(ServiceError):
    kind, reason = Kind.INVALID, "PLAN_UNKNOWN"
    action = "Name one of the plans in the plans file."


class PerformanceReleased(ServiceError):
    kind, reason = Kind.CONFLICT, "PERFORMANCE_RELEASED"
    action = "Start a new performance."


class ReservationNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "RESERVATION_NOT_FOUND"
    action = "Reserve the credits before settling them."


class ApiKeyInvalid(ServiceError):
    """Unknown, deleted and expired keys fail alike, and those of disabled users."""

    kind, reason = Kind.UNAUTHENTICATED, "API_KEY_INVALID"
    action = "Check the key, or make a new one (POST /v1/api-keys)."


class ApiKeyNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "API_KEY_NOT_FOUND"
    action = "List the API keys (GET /v1/api-keys) and use one of their ids."


class ApiKeysExhausted(ServiceError):
    kind, reason = Kind.CONFLICT, "API_KEYS_EXHAUSTED"
    action = "Delete a key that is no longer used, then make a new one."


class LastAdmin(ServiceError):
    kind, reason = Kind.CONFLICT, "LAST_ADMIN"
    action = "Make somebody else an administrator first."


class PageTokenInvalid(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_PAGE_TOKEN"
    action = "Send the next_page_token of an earlier answer, or none for the first page."


class PasswordsBusy(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_BUSY"
    action = "Try again in a second."
    retry_after_seconds = 1


class StorageUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2
