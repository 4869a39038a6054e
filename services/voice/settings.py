"""The voice service's environment variables."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, HttpUrl, RedisDsn, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kernel.settings import Address, MongoUrl, StoreUrl


class Settings(BaseSettings):
    """Read once in `__main__`, from VOICE_* variables."""

    model_config = SettingsConfigDict(env_prefix="VOICE_", frozen=True)

    mongo_url: MongoUrl
    mongo_database: str = Field(default="voice", pattern=r"^[\w-]{1,63}$")
    mongo_connections: int = Field(default=32, ge=1, le=1000)
    mongo_seconds: float = Field(default=5, gt=0, le=30)

    valkey_url: RedisDsn
    # A lost pin must not be felt, so waiting for it is short.
    valkey_seconds: float = Field(default=0.25, gt=0, le=5)

    # Where samples and profiles are kept: file:///folder, s3://bucket/prefix, gs://..., az://...
    blob_url: StoreUrl
    # A base64 key of 32 bytes on each line: the first one seals, all of them open.
    key_file: Path

    # Empty when synthesis is served by the same process.
    synthesis_address: Address = ""
    # The shipped client gives up on an upload after 20 s, examining included.
    synthesis_seconds: float = Field(default=12, gt=0, le=60)
    # The engine that embedded clones are made for.
    local_engine: str = Field(default="local", min_length=1, max_length=32)

    # Where clones are made: elevenlabs, or by the embedded engine alone when empty.
    provider: Literal["", "elevenlabs"] = ""
    # What speaks when the provider has no place for a voice, or is away: the embedded engine's clone of the
    # same sample, or nothing: 503 VOICE_SLOTS_EXHAUSTED.
    overflow: Literal["local", "refuse"] = "local"
    policy: Literal["decayed_rate", "lru", "lfu"] = "decayed_rate"
    # Nobody's voice is taken away this soon after they performed: the next performance is near.
    protect_seconds: float = Field(default=1800, ge=0, le=86400)
    # The most places to use at the provider; 0 for all that the plan has.
    most_places: int = Field(default=0, ge=0, le=100_000)
    # How old the plan's figures may be when a place is given.
    allowance_seconds: float = Field(default=60, gt=0, le=3600)
    reconcile_seconds: float = Field(default=600, gt=0, le=86400)
    # An add without an answer that is absent from the provider's list for so long never took effect.
    unknown_seconds: float = Field(default=120, ge=1, le=3600)
    # The longest that a performance waits for a clone; the overflow needs time as well.
    lease_clone_seconds: float = Field(default=8, gt=0, le=60)
    # Voices that are prepared at the same time because their users are about to perform.
    prefetches: int = Field(default=4, ge=0, le=100)
    # What was begun in the background has so long to end when the service stops.
    stop_seconds: float = Field(default=5, ge=0, le=60)
    elevenlabs_api_key_file: Path | None = None
    elevenlabs_base_url: HttpUrl = HttpUrl("https://api.elevenlabs.io")
    # How long one request may take, and one that makes a voice. What takes longer has an unknown outcome.
    elevenlabs_seconds: float = Field(default=5, gt=0, le=30)
    elevenlabs_clone_seconds: float = Field(default=12, gt=0, le=60)
    # Give each voice its own id as its name. Each costs as much as another voice.
    elevenlabs_rename: bool = False

    # Processes that decode recordings; each keeps a core busy for about a second a recording.
    sample_workers: int = Field(default=2, ge=1, le=64)
    # Recordings that may wait for them; with more, uploads are answered 503.
    sample_queue: int = Field(default=8, ge=0, le=1000)
    sample_seconds: int = Field(default=10, ge=1, le=60)

    # After this an upload counts as dead, and another may begin. Above every deadline of an upload.
    attempt_seconds: float = Field(default=60, ge=1, le=600)
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

    @model_validator(mode="after")
    def _key_for_the_provider(self) -> Self:
        if self.provider == "elevenlabs" and self.elevenlabs_api_key_file is None:
            raise ValueError("VOICE_PROVIDER=elevenlabs needs VOICE_ELEVENLABS_API_KEY_FILE")
        return self
