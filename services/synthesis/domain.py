"""What is true of speech, whoever asks."""

from dataclasses import dataclass, field
from typing import Final

from services.kernel.errors import Kind, ServiceError


class EngineUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 3


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


class SampleUnusable(ServiceError):
    kind, reason = Kind.INVALID, "SAMPLE_UNUSABLE"
    action = "Send 1 to 70 seconds of 16-bit mono audio."


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


class EngineNotInstalled(EngineUnavailable):
    """Asking again does not help, so it has an action of its own; callers see the same reason."""

    action = "Choose a speech engine that this server runs."


class SpeechFailed(ServiceError):
    kind, reason = Kind.UPSTREAM, "SPEECH_FAILED"
    action = "Try again; if it goes on, change the text."


@dataclass(frozen=True, slots=True)
class Summary:
    """What was made, known when the last frame is."""

    duration_seconds: float
    # 64 values from 0 to 100.
    waveform: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """What the audio says about itself."""

    title: str = ""
    recording_id: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One memo: what to say, in whose voice, over what."""

    engine: str
    utterance: Utterance
    voice: EnrolledVoice
    labels: Labels = field(default_factory=Labels)
    # 0 is silence, exactly like no background.
    background_percent: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole frames; only the last piece has the summary."""

    audio: bytes
    summary: Summary | None = None


SAMPLE_SECONDS: Final = (1, 70)


def sample_seconds(pcm: bytes, sample_rate: int) -> float:
    """The length of a sample that a voice can be learned from. Raises SampleUnusable."""
    seconds = len(pcm) / 2 / sample_rate
    shortest, longest = SAMPLE_SECONDS
    if len(pcm) % 2 or not shortest <= seconds <= longest:
        raise SampleUnusable(f"The sample must be {shortest} to {longest} seconds of whole 16-bit samples.")
    return seconds
