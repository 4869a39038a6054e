"""What is true of speech, whoever asks."""

from dataclasses import dataclass, field

from services.kernel.errors import Kind, ServiceError


class EngineUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_UNAVAILABLE"
    action = "Try again in a few seconds."


class EngineOverloaded(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"
    action = "Try again after the time in Retry-After."
    retry_after_seconds = 2


class VoiceNotEnrolled(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CLONE_REQUIRED"
    action = "Upload a voice sample, then perform again."


class LanguageNotSpoken(ServiceError):
    kind, reason = Kind.INVALID, "LANGUAGE_NOT_SPOKEN"
    action = "Choose a language that this engine speaks."


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a text is to be spoken. Stability, similarity and style are fractions; speed is a factor."""

    stability: float = 0.5
    similarity: float = 0.75
    style: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Utterance:
    text: str
    # BCP 47; engines look at the primary subtag only.
    language: str
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(frozen=True, slots=True)
class EnrolledVoice:
    """A voice that an engine can speak in.

    `voice_id` is the engine's own name for it; `profile` is what `enrol` returned (empty for
    engines that keep the voice on their side).
    """

    voice_id: str
    profile: bytes = b""
