"""What can happen to speech, beside what can happen to any performance."""

from services.kernel.errors import Kind, ServiceError


class VoiceMissing(ServiceError):
    """The provider no longer has the leased voice. Callers meet it only when a second one is gone as well."""

    kind, reason = Kind.CONFLICT, "PROVIDER_VOICE_MISSING"
    action = "Try again; the voice is made anew from its sample."


class VoiceNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "VOICE_NOT_FOUND"
    action = 'Send "me" as the voice, or your own voice clone id.'


class SpeechUnderWay(ServiceError):
    kind, reason = Kind.DEADLINE, "SPEECH_UNDER_WAY"
    action = "Ask again with the same Idempotency-Key: then it is given from its beginning."
