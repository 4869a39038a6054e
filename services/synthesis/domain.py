"""What is true of speech, whoever asks."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.kernel.errors import Kind, ServiceError


class EngineUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 3


class ProviderClosedToUs(EngineUnavailable):
    """Asking again does not help before somebody pays, or changes a setting; callers see the same reason."""

    action = "Choose another speech engine; tell whoever runs this server."
    retry_after_seconds = 0


class EngineOverloaded(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"
    action = "Try again after the time in Retry-After."
    retry_after_seconds = 2


class MemoLost(ServiceError):
    """Ours alone: the engine spoke, and would again. So nobody takes it for a reason to change the voice."""

    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


class VoiceNotEnrolled(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CLONE_REQUIRED"
    action = "Upload a voice sample, then perform again."


class ProviderVoiceMissing(ServiceError):
    """The provider that keeps this engine's voices no longer has this one: it has to be cloned again."""

    kind, reason = Kind.CONFLICT, "PROVIDER_VOICE_MISSING"
    action = "Perform again; the voice is made anew from its sample."


class LanguageNotSpoken(ServiceError):
    kind, reason = Kind.INVALID, "LANGUAGE_NOT_SPOKEN"
    action = "Choose a language that this engine speaks, and words in its letters."


class ModelNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "MODEL_NOT_FOUND"
    action = "Leave the choice to the voice: send tts-1."


class OpeningMissing(ServiceError):
    kind, reason = Kind.INVALID, "INVALID_REQUEST"
    action = "Say in the first message how to speak."


class SampleUnusable(ServiceError):
    kind, reason = Kind.INVALID, "SAMPLE_UNUSABLE"
    action = "Send 1 to 70 seconds of 16-bit mono audio."


class SampleRateNotOffered(ServiceError):
    kind, reason = Kind.INVALID, "SAMPLE_RATE_NOT_OFFERED"
    action = "Leave the sample rate out, or choose another."


class SoundNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "SOUND_NOT_FOUND"
    action = "Choose fan, room_tone, street or rain."


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


async def nothing_more() -> AsyncGenerator[str, None]:
    """How a text goes on that is whole."""
    nothing: tuple[str, ...] = ()
    for text in nothing:
        yield text


async def all_of(text: str, further: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """A text in the pieces that it is written in."""
    yield text
    async for more in further:
        yield more


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
    # False only where somebody was recorded.
    spoken_by_machine: bool = True


class Format(StrEnum):
    MP3 = "mp3"
    OPUS = "opus"
    AAC = "aac"
    FLAC = "flac"
    WAV = "wav"
    PCM = "pcm"


_RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# The first is what a listener gets who asks for none.
OFFERED_RATES: Final = {
    Format.MP3: (44_100, *_RATES),
    Format.OPUS: (48_000, 8_000, 16_000, 24_000),
    Format.AAC: (44_100, *_RATES),
    Format.FLAC: (44_100, *_RATES),
    Format.WAV: (24_000, *_RATES),
    Format.PCM: (24_000, *_RATES),
}


@dataclass(frozen=True, slots=True)
class Medium:
    """In which form a listener gets the audio; always one channel."""

    format: Format = Format.MP3
    sample_rate: int = OFFERED_RATES[Format.MP3][0]

    @classmethod
    def wanted(cls, name: str, sample_rate: int) -> "Medium":
        """ "" is mp3 and 0 the format's own rate. Raises SampleRateNotOffered."""
        wanted = Format(name or Format.MP3)
        rate = sample_rate or OFFERED_RATES[wanted][0]
        if rate not in OFFERED_RATES[wanted]:
            raise SampleRateNotOffered(f"There is no {wanted} at {rate} samples a second.")
        return cls(wanted, rate)


class Sound(StrEnum):
    """What can be under a memo."""

    FAN = "fan"
    ROOM_TONE = "room_tone"
    STREET = "street"
    RAIN = "rain"
    OFF = "off"

    @classmethod
    def named(cls, name: str) -> "Sound":
        """Raises SoundNotFound."""
        try:
            return cls(name)
        except ValueError:
            raise SoundNotFound(f"There is no sound named {name!r}.") from None


@dataclass(frozen=True, slots=True)
class Background:
    """0 percent is silence, exactly like Sound.OFF."""

    sound: Sound = Sound.FAN
    volume_percent: int = 0
    # The sound steps back while the voice speaks.
    ducking: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One memo: what to say, in whose voice, over what, in which form."""

    engine: str
    utterance: Utterance
    voice: EnrolledVoice
    labels: Labels = field(default_factory=Labels)
    background: Background = field(default_factory=Background)
    medium: Medium = field(default_factory=Medium)
    # Empty for whichever the engine speaks with.
    model: str = ""
    # How the text goes on while it is being written; None when it is whole.
    further: AsyncIterator[str] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole frames; only the last piece has the summary, only the first the content type and the model."""

    audio: bytes
    summary: Summary | None = None
    content_type: str = ""
    model: str = ""


SAMPLE_SECONDS: Final = (1, 70)


def sample_seconds(pcm: bytes, sample_rate: int) -> float:
    """The length of a sample that a voice can be learned from. Raises SampleUnusable."""
    seconds = len(pcm) / 2 / sample_rate
    shortest, longest = SAMPLE_SECONDS
    if len(pcm) % 2 or not shortest <= seconds <= longest:
        raise SampleUnusable(f"The sample must be {shortest} to {longest} seconds of whole 16-bit samples.")
    return seconds
