"""Perform's environment variables."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kernel.settings import Address, MongoUrl, StoreUrl


class Settings(BaseSettings):
    """Read once in `__main__`, from PERFORM_* variables."""

    model_config = SettingsConfigDict(env_prefix="PERFORM_", frozen=True)

    mongo_url: MongoUrl
    mongo_database: str = Field(default="perform", pattern=r"^[\w-]{1,63}$")
    mongo_connections: int = Field(default=32, ge=1, le=500)
    # Where the audio is kept: file:///folder, s3://bucket/folder, gs://bucket/folder, az://...
    blob_url: StoreUrl

    # Empty when the service runs in this process.
    auth_address: Address = ""
    voice_address: Address = ""
    content_address: Address = ""
    synthesis_address: Address = ""

    # One attempt each, and never beyond the caller's own deadline.
    auth_seconds: float = Field(default=3, gt=0, le=30)
    # Releases and questions; leasing has its own.
    voice_seconds: float = Field(default=3, gt=0, le=30)
    # Long enough for a voice that must be cloned again.
    lease_seconds: float = Field(default=15, gt=0, le=60)
    content_seconds: float = Field(default=12, gt=0, le=60)
    synthesis_seconds: float = Field(default=45, gt=0, le=120)
    # Credits, voice and engine may be waited for so long, all in all; what the listener takes does not
    # count. Below the route's deadline of 170 seconds: a speech that is cut by that one is charged as if
    # its listener had left.
    speech_seconds: float = Field(default=165, gt=0, le=280)

    # From the claim to the kept recording; what takes longer is undone.
    performance_seconds: float = Field(default=60, gt=0, le=300)
    # Performances that a process takes on at once, when they become late.
    least_at_once: int = Field(default=8, ge=1, le=1000)
    # The same when they do not; between the two it finds its own number.
    most_at_once: int = Field(default=64, ge=1, le=1000)
    # A performance is late when it takes longer.
    late_seconds: float = Field(default=6, gt=0, le=60)
    # As many wait for a place as get one within this time; 0 refuses at once.
    wait_seconds: float = Field(default=3, ge=0, le=5)
    # Speeches that a process takes on at once, beside the performances.
    most_speeches_at_once: int = Field(default=16, ge=1, le=1000)
    # So much of what is spoken under Idempotency-Keys is held in memory, until its listeners have heard it.
    most_speech_bytes: int = Field(default=96 << 20, ge=1 << 20)
    # A second request with the key of one under way waits so long for its outcome.
    join_seconds: float = Field(default=60, gt=0, le=300)
    # A process that performs says within this time that it is alive, or another one ends what it began.
    takeover_seconds: float = Field(default=10, gt=0, le=600)
    sweep_interval_seconds: float = Field(default=5, gt=0, le=600)
    # How long one outcome is remembered under its Idempotency-Key.
    key_hours: float = Field(default=24, gt=0, le=24 * 30)
    # The same for who sent no key, went away without the answer, and asks the same again.
    unheard_seconds: float = Field(default=60, gt=0, le=3600)
    # Recordings are removed so long after they were made; 0 keeps them until their owner deletes them.
    recording_retention_days: float = Field(default=0, ge=0, le=36_500)
    # The audio of a deleted recording goes so long after; 0 removes it with the recording.
    purge_days: float = Field(default=1, ge=0, le=365)
    # Recordings that one user may keep; beyond it nothing is performed until something is deleted.
    most_recordings: int = Field(default=10_000, ge=1)
    # The same for their size.
    most_recorded_bytes: int = Field(default=2 << 30, ge=1)
    # How often to look for audio that no performance knows of.
    orphan_sweep_hours: float = Field(default=6, gt=0, le=24 * 30)
    # Such audio is removed when it is older than this.
    orphan_age_hours: float = Field(default=1, ge=0.05, le=24 * 30)
    # Performances still under way when the process stops get so long to end.
    stop_seconds: float = Field(default=10, ge=0, le=60)
