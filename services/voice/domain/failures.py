"""What can come of asking for a voice that is there for nobody."""

from services.kernel.errors import Kind, ServiceError


class VoiceCloneRequired(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CLONE_REQUIRED"
    action = "Upload a voice sample, then perform again."


class VoiceSampleNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "VOICE_SAMPLE_NOT_FOUND"
    action = "Upload a voice sample first."


class VoiceChangedMeanwhile(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CHANGED_MEANWHILE"
    action = "Look at the voice as it is now, and upload again if it is not what you want."


class VoiceStoreUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_STORE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


class BlobSealed(VoiceStoreUnavailable):
    """No key that we have opens it: the key file is not the right one, or the blob was damaged."""


class VoiceSlotsExhausted(ServiceError):
    """The user is given no place at the provider now; what was there before stays."""

    kind, reason = Kind.UNAVAILABLE, "VOICE_SLOTS_EXHAUSTED"
    action = "Try again after the time in Retry-After, when a place for the voice may be free."
    # Unless the ruling knows better.
    retry_after_seconds = 60

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class VoicePoolDisabled(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_POOL_DISABLED"
    action = "Configure a provider that voices are kept at."


class VoiceNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "VOICE_NOT_FOUND"
    action = "Look for the voice in the list of clones."


class VoiceInUse(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_IN_USE"
    action = "Try again when the performance is over."


class ReconcileUnderWay(ServiceError):
    kind, reason = Kind.CONFLICT, "RECONCILE_UNDER_WAY"
    action = "Look at the pool's status in a minute."


class PageTokenInvalid(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_PAGE_TOKEN"
    action = "Start again from the first page."


class BlobMissing(Exception):
    """A blob that a document names is not there (any more)."""


class PinsUnavailable(Exception):
    """Pins can be neither set nor removed now; they expire by themselves."""
