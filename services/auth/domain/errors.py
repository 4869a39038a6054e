"""How a call to this service may end when it does not end well."""

from services.kernel.errors import Kind, ServiceError


class ActivationCodeInvalid(ServiceError):
    """Unknown, used, revoked and expired codes fail alike, so that nobody learns which codes exist."""

    kind, reason = Kind.INVALID, "ACTIVATION_CODE_INVALID"
    action = "Check the activation code, or ask for a new one."


class UsernameTaken(ServiceError):
    kind, reason = Kind.CONFLICT, "USERNAME_TAKEN"
    action = "Choose another username; the activation code is still good."


class EmailTaken(ServiceError):
    kind, reason = Kind.CONFLICT, "EMAIL_TAKEN"
    action = "Use another email, or log in; the activation code is still good."


class PasswordTooWeak(ServiceError):
    kind, reason = Kind.INVALID, "PASSWORD_TOO_WEAK"
    action = "Choose a longer password."


class CredentialsInvalid(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "CREDENTIALS_INVALID"
    action = "Check the username and the password."


class RefreshTokenInvalid(ServiceError):
    kind, reason = Kind.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"
    action = "Log in again."


class DateNotReal(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_REQUEST"
    action = "Send a date of the calendar as YYYY-MM-DD."


class CreditsExhausted(ServiceError):
    kind, reason = Kind.UNPAID, "CREDITS_EXHAUSTED"
    action = "Wait until the month turns, or ask for a higher limit."


class PerformanceReleased(ServiceError):
    kind, reason = Kind.CONFLICT, "PERFORMANCE_RELEASED"
    action = "Start a new performance."


class ReservationNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "RESERVATION_NOT_FOUND"
    action = "Reserve the credits before settling them."


class PasswordsBusy(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_BUSY"
    action = "Try again in a second."
    retry_after_seconds = 1


class StorageUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2
