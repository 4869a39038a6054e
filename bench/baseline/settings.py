"""What the application reads from its environment."""

from pathlib import Path

from pydantic import Field, HttpUrl, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """From BASELINE_* variables."""

    model_config = SettingsConfigDict(env_prefix="BASELINE_", frozen=True)

    mongo_url: str
    # Samples and recordings.
    folder: Path
    # ElevenLabs and Gemini, or what answers in their place.
    elevenlabs_url: HttpUrl = HttpUrl("https://api.elevenlabs.io")
    elevenlabs_key: SecretStr
    elevenlabs_model: str = "eleven_flash_v2_5"
    # Requests at once that the plan allows.
    elevenlabs_seats: int = Field(default=30, ge=1)
    gemini_url: HttpUrl = HttpUrl("https://generativelanguage.googleapis.com")
    gemini_key: SecretStr
    gemini_model: str = "gemini-2.5-flash-lite"
    token_secret: SecretStr = Field(min_length=32)
    token_seconds: int = Field(default=3600, ge=60)
    monthly_limit: int = Field(default=4000, ge=0)
    cost_factor: float = 0.5
    port: int = 8000
