"""The voice service's environment variables."""

from pathlib import Path

from pydantic import Field, MongoDsn, RedisDsn, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once in `__main__`, from VOICE_* variables."""

    model_config = SettingsConfigDict(env_prefix="VOICE_", frozen=True)

    mongo_url: MongoDsn
    mongo_database: str = Field(default="voice", min_length=1, max_length=63)
    mongo_connections: int = Field(default=32, ge=1, le=1000)
    mongo_seconds: float = Field(default=5, gt=0, le=30)

    valkey_url: RedisDsn
    # A lost pin must not be felt, so waiting for it is short.
    valkey_seconds: float = Field(default=0.25, gt=0, le=5)

    # Where samples and profiles are kept: file:///folder, s3://bucket/prefix, gs://..., az://...
    blob_url: str
    # A base64 key of 32 bytes on each line: the first one seals, all of them open.
    key_file: Path

    # Empty when synthesis is served by the same process.
    synthesis_address: str = ""
    # The shipped client gives up on an upload after 20 s, examining included.
    synthesis_seconds: float = Field(default=12, gt=0, le=60)
    # The engine that embedded clones are made for.
    local_engine: str = Field(default="local", min_length=1, max_length=32)

    # Processes that decode recordings; each keeps a core busy for about a second a recording.
    sample_workers: int = Field(default=2, ge=1, le=64)
    # Recordings that may wait for them; with more, uploads are answered 503.
    sample_queue: int = Field(default=8, ge=0, le=1000)
    sample_seconds: int = Field(default=10, ge=1, le=60)

    # After this an upload counts as dead, and another may begin. Above every deadline of an upload.
    attempt_seconds: float = Field(default=60, ge=20, le=600)
    # Longer than any performance.
    lease_seconds: float = Field(default=180, ge=1, le=3600)
    profile_cache_mib: int = Field(default=64, ge=0, le=4096)
    profile_cache_seconds: float = Field(default=600, ge=0, le=86400)
    sweep_seconds: float = Field(default=60, gt=0, le=3600)

    @field_validator("blob_url")
    @classmethod
    def _outlives_the_process(cls, url: str) -> str:
        if url.startswith("memory:"):
            raise ValueError("VOICE_BLOB_URL must name a store that outlives the process")
        return url
