"""The service's environment variables."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, RedisDsn, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kernel.settings import Address, MongoUrl

# As gateway/envoy.yaml.j2 has it.
GATEWAY_KEEPS_KEYS_SECONDS = 60


class Settings(BaseSettings):
    """Read once in `__main__` and the command line, from AUTH_* variables."""

    model_config = SettingsConfigDict(env_prefix="AUTH_", frozen=True)

    mongo_url: MongoUrl
    database: str = Field(default="auth", pattern=r"^[\w-]{1,63}$")
    mongo_pool_size: int = Field(default=32, ge=1, le=500)
    # Counts failed logins; without it every login is let through, and says so in the log.
    valkey_url: RedisDsn
    # 32 random bytes as base64 or hex: seals the signing keys and derives refresh tokens.
    key_file: Path

    token_issuer: str = Field(default="newvisions", min_length=1)
    token_audience: str = Field(default="newvisions", min_length=1)
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

    breached_passwords_file: Path = Path(__file__).parent / "data" / "breached_passwords.txt"
    # Failed logins that cost no wait: of an account, and of an address, behind which may be a whole
    # theatre. Each one more doubles the wait, from a second to the longest.
    slowdown_account_failures: int = Field(default=5, ge=1, le=100)
    slowdown_address_failures: int = Field(default=30, ge=1, le=10_000)
    slowdown_longest_seconds: int = Field(default=60, ge=1, le=900)
    slowdown_lasts_seconds: int = Field(default=3600, ge=60, le=86_400)

    plans_file: Path = Path(__file__).parent / "data" / "plans.json"
    # Instead of the default plan's.
    monthly_limit: int | None = Field(default=None, ge=0, le=10_000_000)
    cost_factors_file: Path = Path(__file__).parent / "data" / "cost_factors.json"
    # Longer than any performance takes, shorter than a performer waits for lost credits.
    reservation_seconds: int = Field(default=300, ge=1, le=3600)
    sweep_seconds: float = Field(default=15, gt=0, le=600)
    # How long a new signing key is published before it signs: longer than a replica takes to meet it
    # (sweep_seconds) and gateways keep the keys they have, together.
    key_publish_seconds: int = Field(default=300, le=86_400, validate_default=True)

    # Who else keeps something about users; empty when the service runs in this process.
    voice_address: Address = ""
    perform_address: Address = ""
    content_address: Address = ""
    # One call of these; with the time that a request may go on erasing, within the route's deadline.
    peer_seconds: float = Field(default=5, gt=0, le=8)
    # How soon to go on with an erasure that a service was not there for.
    erasure_retry_seconds: float = Field(default=15, gt=0, le=3600)

    # For how many days ended sessions are kept; one that ran out is removed at once.
    session_retention_days: float = Field(default=7, ge=0, le=365)
    # 0 keeps for ever. Whatever the second is, the running month stays.
    audit_retention_days: float = Field(default=0, ge=0, le=36_500)
    credit_retention_days: float = Field(default=0, ge=0, le=36_500)
    # Accounts that nobody used for so long are erased, in all services; 0 for never.
    unused_account_days: float = Field(default=0, ge=0, le=36_500)

    @field_validator("key_publish_seconds")
    @classmethod
    def _known_before_it_signs(cls, seconds: int, others: ValidationInfo) -> int:
        if seconds <= GATEWAY_KEEPS_KEYS_SECONDS + others.data.get("sweep_seconds", 0):
            raise ValueError("gateways would not know a new key when it signs")
        return seconds

    @property
    def access_token_lives(self) -> timedelta:
        return timedelta(seconds=self.access_token_seconds)

    @property
    def session_lives(self) -> timedelta:
        return timedelta(days=self.session_days)
