"""What this engine reads from its environment, and what its provider's models take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

_29_LANGUAGES: Final = frozenset(
    {"ar", "bg", "cs", "da", "de", "el", "en", "es", "fi", "fil", "fr", "hi", "hr", "id", "it"}
) | {"ja", "ko", "ms", "nl", "pl", "pt", "ro", "ru", "sk", "sv", "ta", "tr", "uk", "zh"}


@dataclass(frozen=True, slots=True)
class Model:
    languages: frozenset[str]
    # In one request; a longer text takes several.
    most_characters: int
    # Told the language, it does not guess it from a short text; the older model refuses to be told.
    takes_language: bool
    # Told what was said before, it goes on in the same breath; the newest model refuses to be told.
    takes_context: bool
    # Models of one kind share their seats; no plan has fewer than these.
    kind: Literal["fast", "full"]
    fewest_seats: int


MODELS: Final = {
    "eleven_flash_v2_5": Model(_29_LANGUAGES | {"hu", "no", "vi"}, 40_000, True, True, "fast", 4),
    "eleven_turbo_v2_5": Model(_29_LANGUAGES | {"hu", "no", "vi"}, 40_000, True, True, "fast", 4),
    "eleven_multilingual_v2": Model(_29_LANGUAGES, 10_000, False, True, "full", 2),
    "eleven_v3": Model(_29_LANGUAGES | {"hu", "no", "vi"}, 3_000, True, False, "full", 2),
}


class ElevenLabsSettings(BaseSettings):
    """Read when the engine is made, from SYNTHESIS_ELEVENLABS_* variables."""

    model_config = SettingsConfigDict(env_prefix="SYNTHESIS_ELEVENLABS_", frozen=True)

    api_key_file: Path
    base_url: HttpUrl = HttpUrl("https://api.elevenlabs.io")
    model: Literal["eleven_flash_v2_5", "eleven_turbo_v2_5", "eleven_multilingual_v2", "eleven_v3"] = (
        "eleven_flash_v2_5"
    )
    # Kept and used again: making one costs up to a second.
    connections: int = Field(default=32, ge=1, le=1000)
    # Without a byte for so long, the provider is given up on.
    silence_seconds: float = Field(default=5, gt=0, le=30)
    # Requests at once that the plan allows, of all replicas together; 0 learns it from the provider's
    # answers. Without SYNTHESIS_VALKEY_URL it is this replica's share.
    seats: int = Field(default=0, ge=0, le=1000)
    # Callers who may wait for one, of all replicas together; the next is told to come back.
    queue_limit: int = Field(default=64, ge=0, le=10_000)
    # How long one waits, within the listener's own deadline; a wait that looks longer is refused at once.
    patience_seconds: float = Field(default=6, gt=0, le=60)
