"""The service's environment variables."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once in `__main__` and the command line, from AUTH_* variables."""

    model_config = SettingsConfigDict(env_prefix="AUTH_", frozen=True)

    mongo_url: str
    database: str = "auth"
    mongo_pool_size: int = Field(default=32, ge=1, le=500)
    # 32 random bytes as base64 or hex: seals the signing keys and derives refresh tokens.
    key_file: Path

    token_issuer: str = "newvisions"  # noqa: S105 - a name, no secret
    token_audience: str = "newvisions"  # noqa: S105 - a name, no secret
    access_token_seconds: int = Field(default=900, ge=60, le=3600)
    session_days: int = Field(default=30, ge=1, le=365)
    refresh_grace_seconds: int = Field(default=30, ge=0, le=120)

    # OWASP's second choice for Argon2id; changed parameters take effect at each user's next login.
    argon2_memory_kib: int = Field(default=19_456, ge=1024)
    argon2_time_cost: int = Field(default=2, ge=1)
    argon2_parallelism: int = Field(default=1, ge=1)
    password_threads: int = Field(default=2, ge=1, le=64)
    # Each waits about 30 ms for the one before it; more than this is answered 503.
    password_queue: int = Field(default=64, ge=1)

    monthly_limit: int = Field(default=4000, ge=0)
    cost_factors_file: Path = Path(__file__).parent / "data" / "cost_factors.json"
    # Longer than any performance takes, shorter than a performer waits for lost credits.
    reservation_seconds: int = Field(default=300, ge=1, le=3600)
    sweep_seconds: float = Field(default=15, gt=0, le=600)

    @property
    def access_token_lives(self) -> timedelta:
        return timedelta(seconds=self.access_token_seconds)

    @property
    def session_lives(self) -> timedelta:
        return timedelta(days=self.session_days)
