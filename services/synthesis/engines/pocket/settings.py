"""What this engine reads from its environment."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# By the names of the package's own configurations.
CONFIGURATIONS: Final = {
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "pt": "portuguese",
}


class PocketSettings(BaseSettings):
    """Read when the engine is made, from SYNTHESIS_POCKET_* variables."""

    model_config = SettingsConfigDict(env_prefix="SYNTHESIS_POCKET_", frozen=True)

    # Comma separated; each is a model of its own: about 100 million parameters, 0.5 GB in memory.
    languages: Annotated[tuple[str, ...], NoDecode] = ("en",)
    # A folder with english.yaml and so on, which say where weights and tokenizer are; without it, those
    # of the package, which fetch theirs from the network once.
    config_dir: Path | None = None
    # Smaller and faster by a quarter; needs the package torchao.
    quantize: bool = False
    threads: int = Field(default=1, ge=1, le=64)
    # Requests in progress; the next is told to come back.
    queue_limit: int = Field(default=16, ge=1, le=1000)
    # Voices that are ready to speak at once; each takes about 20 MB.
    voices: int = Field(default=8, ge=1, le=1000)

    @field_validator("languages", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("languages")
    @classmethod
    def _spoken(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(value) - CONFIGURATIONS.keys()):
            raise ValueError(f"unknown: {', '.join(unknown)}; there are {', '.join(CONFIGURATIONS)}")
        if not value:
            raise ValueError("names no language")
        return value

    def configuration(self, language: str) -> Path | None:
        """A file of our own, or none when the package's serves."""
        return self.config_dir / f"{CONFIGURATIONS[language]}.yaml" if self.config_dir else None
