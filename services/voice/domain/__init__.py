"""What is true of a user's voice, whoever asks."""

from services.voice.domain.failures import (
    BlobMissing,
    BlobSealed,
    PageTokenInvalid,
    PinsUnavailable,
    ReconcileUnderWay,
    VoiceChangedMeanwhile,
    VoiceCloneRequired,
    VoiceInUse,
    VoiceNotFound,
    VoicePoolDisabled,
    VoiceSampleNotFound,
    VoiceSlotsExhausted,
    VoiceStoreUnavailable,
)
from services.voice.domain.paging import Bookmark
from services.voice.domain.values import (
    Attempt,
    Clone,
    Consent,
    Lease,
    Leftover,
    Outcome,
    Sample,
    SealedBlob,
    Touched,
    Upload,
)
from services.voice.domain.voice import Voice

__all__ = [
    "Attempt",
    "BlobMissing",
    "BlobSealed",
    "Bookmark",
    "Clone",
    "Consent",
    "Lease",
    "Leftover",
    "Outcome",
    "PageTokenInvalid",
    "PinsUnavailable",
    "ReconcileUnderWay",
    "Sample",
    "SealedBlob",
    "Touched",
    "Upload",
    "Voice",
    "VoiceChangedMeanwhile",
    "VoiceCloneRequired",
    "VoiceInUse",
    "VoiceNotFound",
    "VoicePoolDisabled",
    "VoiceSampleNotFound",
    "VoiceSlotsExhausted",
    "VoiceStoreUnavailable",
]
