"""Content's environment variables."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, HttpUrl, RedisDsn, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.kernel.settings import Address, SettingUnusable, read_key_file

ModelName = Literal["gemini", "openai", "offline"]


class Settings(BaseSettings):
    """Read once in `__main__`, from CONTENT_* variables."""

    model_config = SettingsConfigDict(env_prefix="CONTENT_", frozen=True)

    valkey_url: RedisDsn
    # A lost memory of recent notes must not be felt, so waiting for it is short.
    valkey_seconds: float = Field(default=0.25, gt=0, le=5)
    # Who knows a performer's language, for a thought that names none. Empty when auth runs in this process.
    auth_address: Address = ""
    # One attempt, and never beyond the caller's own deadline.
    auth_seconds: float = Field(default=2, gt=0, le=10)
    # Asked from left to right; those that are not switched on below are left out. Older name: MODEL_ORDER.
    models: Annotated[tuple[ModelName, ...], NoDecode] = Field(
        default=("gemini", "openai", "offline"),
        validation_alias=AliasChoices("CONTENT_MODELS", "CONTENT_MODEL_ORDER"),
    )
    # For one note, all models and attempts together, of the 20 s after which the shipped client gives up.
    # The offline composer, which needs about a millisecond, may still write when it is over.
    budget_seconds: float = Field(default=8, gt=0, le=15)

    # The same user's same question within so many seconds gets the same thought; 0 keeps none.
    cache_seconds: int = Field(default=600, ge=0, le=86_400)
    # Performances too: faster, but then a note can be one that the user was given lately.
    cache_for_perform: bool = False

    # Gemini is switched on by a key: in a file, or here.
    gemini_api_key: SecretStr = SecretStr("")
    gemini_api_key_file: Path | None = None
    gemini_base_url: HttpUrl = HttpUrl("https://generativelanguage.googleapis.com")
    # For one note, all attempts together.
    gemini_seconds: float = Field(default=4, gt=0, le=15)
    gemini_model: str = Field(default="gemini-2.5-flash-lite", pattern=r"^[\w.-]+$")

    # An OpenAI-compatible server is switched on by its URL, which ends in /v1 for most; a key is optional.
    openai_base_url: HttpUrl | None = None
    openai_api_key: SecretStr = SecretStr("")
    openai_api_key_file: Path | None = None
    openai_model: str = Field(default="", max_length=200)
    openai_seconds: float = Field(default=4, gt=0, le=15)

    @field_validator("models", mode="before")
    @classmethod
    def _from_commas(cls, given: object) -> object:
        return tuple(name.strip() for name in given.split(",")) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _openai_model_is_named(self) -> "Settings":
        if self.openai_base_url and not self.openai_model:
            raise ValueError("CONTENT_OPENAI_MODEL must name the model to ask at CONTENT_OPENAI_BASE_URL")
        return self

    @property
    def gemini_key(self) -> str:
        """Empty for none. Raises SettingUnusable."""
        return _key("CONTENT_GEMINI_API_KEY", self.gemini_api_key, self.gemini_api_key_file)

    @property
    def openai_key(self) -> str:
        """Empty for none. Raises SettingUnusable."""
        return _key("CONTENT_OPENAI_API_KEY", self.openai_api_key, self.openai_api_key_file)


def _key(setting: str, given: SecretStr, file: Path | None) -> str:
    if file:
        return read_key_file(f"{setting}_FILE", file)
    key = given.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingUnusable(f"setting {setting}: is no API key")
    return key
