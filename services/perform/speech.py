"""What is true of speech: text that a caller wrote, in the caller's own voice."""

import json
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

from services.perform.domain import Delivery, Preferences, language_tag
from services.perform.errors import VoiceNotFound

OWN_VOICE: Final = "me"
# Other makers' names for speech models, which clients send because they must send something.
_ANY_MODEL: Final = re.compile(r"tts-.+|gpt-.+-tts(-.+)?")
_BYTES_PER_SECOND: Final = {
    "mp3": 16_000,
    # With its page around each packet.
    "opus": 10_000,
    "aac": 13_000,
    # As if it had not been compressed at all.
    "flac": 88_200,
    "wav": 48_000,
    "pcm": 48_000,
}
CONTENT_TYPES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# Slower than people are read to; where a character is a syllable or a word, they take longer.
_SLOW_CHARACTERS_PER_SECOND: Final = 9.0
_SLOW_SYLLABLES_PER_SECOND: Final = 3.0
_SYLLABIC: Final = frozenset({"ja", "ko", "zh"})


@dataclass(frozen=True, slots=True)
class SpeechOrder:
    """What a caller asks for."""

    model: str
    text: str
    # OWN_VOICE, or the name of one.
    voice: str
    audio_format: str
    speed: float
    # As server-sent events instead of bare audio.
    as_events: bool

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def named_model(self) -> str:
        """Who must speak; empty when the voice decides."""
        return "" if _ANY_MODEL.fullmatch(self.model) else self.model


def check_voice(asked: str, clone_id: str) -> None:
    """Raises VoiceNotFound for another's voice exactly as for one that does not exist."""
    if asked != OWN_VOICE and (not clone_id or asked != clone_id):
        raise VoiceNotFound("You have no such voice.")


def delivery(preferences: Preferences, order: SpeechOrder) -> Delivery:
    """The voice alone, as its user likes it, at the speed and in the form that were asked for."""
    return Delivery(
        language=language_tag(preferences.voice_language),
        stability=preferences.voice_stability,
        similarity=preferences.voice_similarity,
        background_volume=None,
        title="",
        date="",
        speed=order.speed,
        audio_format=order.audio_format,
        model=order.named_model,
    )


def characters_made(order: SpeechOrder, language: str, audio_bytes: int) -> int:
    """How much of the text is surely in the audio so far: rather too little, so that nobody pays for what
    was not made."""
    syllabic = language.split("-", maxsplit=1)[0].lower() in _SYLLABIC
    pace = _SLOW_SYLLABLES_PER_SECOND if syllabic else _SLOW_CHARACTERS_PER_SECOND
    seconds = audio_bytes / _BYTES_PER_SECOND[order.audio_format]
    # Nobody speaks as slowly, or as fast, as the slowest and fastest speed ask for; the slower counts.
    return min(len(order.text), int(seconds * pace * min(order.speed, 1.0)))


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """An Idempotency-Key, for one speech of one user."""

    speech_id: UUID
    user_id: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is told about a speech that is kept."""

    voice_source: str
    credits: int


@dataclass(frozen=True, slots=True)
class HeldKey:
    """What somebody else does under a key, or did."""

    speech_id: UUID
    same_request: bool
    # None while it is under way.
    spoken: Spoken | None
