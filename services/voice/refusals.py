"""Why a recording is no sample: one code each, and what to do about it."""

from typing import Final

from services.kernel.errors import Kind, ServiceError

MAX_UPLOAD_BYTES: Final = 3 << 20
SHORTEST_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 60.0


class SampleRefused(ServiceError):
    """Nothing of a refused recording is kept."""


class AudioBase64Invalid(SampleRefused):
    kind, reason = Kind.INVALID, "AUDIO_BASE64_INVALID"
    action = "Send the audio as standard base64, alone or as a data URL that ends in ;base64,..."


class SampleFileMissing(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_FILE_MISSING"
    action = "Send multipart/form-data with the recording as a file field."


class SampleUnreadable(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_UNREADABLE"
    action = "Record again, wait until the recording is saved completely, and upload the new file."


class SampleMediaUnknown(SampleRefused):
    kind, reason = Kind.WRONG_MEDIA, "SAMPLE_MEDIA_UNKNOWN"
    action = "Upload an audio recording as mp3, wav, m4a, webm, ogg or flac."


class SampleTooLarge(SampleRefused):
    kind, reason = Kind.TOO_LARGE, "SAMPLE_TOO_LARGE"
    action = "Upload at most 3 MiB; a minute of speech as mp3 or m4a is smaller than that."


class SampleTooShort(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_TOO_SHORT"
    action = "Record 30 to 60 seconds of continuous speech; reading a page aloud is enough."


class SampleTooLong(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_TOO_LONG"
    action = "Upload 30 to 60 seconds of speech: cut the recording, or stop after a minute."


class SampleSilent(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_SILENT"
    action = "Check that the right microphone is chosen and not muted, then record again."


class SampleTooQuiet(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_TOO_QUIET"
    action = "Hold the microphone a hand's width from your mouth, speak up, and record again."


class SampleClipped(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_CLIPPED"
    action = "Move a little away from the microphone or lower its level, then record again."


class SampleNoisy(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_NOISY"
    action = "Record in a quiet room, close to the microphone; close windows, turn fan, music and TV off."


class SampleNotSpeech(SampleRefused):
    kind, reason = Kind.INVALID, "SAMPLE_NOT_SPEECH"
    action = "Record one person speaking in a quiet room, without music or long pauses."


class SampleQueueFull(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SAMPLE_QUEUE_FULL"
    action = "Try again after the time in Retry-After."
    retry_after_seconds = 5


# What the examination of a recording may find; it runs in another process, which answers by reason.
FOUND_BY_EXAMINATION: Final[dict[str, type[SampleRefused]]] = {
    refusal.reason: refusal
    for refusal in (
        SampleUnreadable,
        SampleMediaUnknown,
        SampleTooShort,
        SampleTooLong,
        SampleSilent,
        SampleTooQuiet,
        SampleClipped,
        SampleNoisy,
        SampleNotSpeech,
    )
}
