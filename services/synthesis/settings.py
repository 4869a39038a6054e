"""What this service reads from its environment."""

from pydantic import Field, RedisDsn
from pydantic_settings import BaseSettings, SettingsConfigDict


class GateSettings(BaseSettings):
    """Read by the engines that have a provider, when they start."""

    model_config = SettingsConfigDict(env_prefix="SYNTHESIS_", frozen=True)

    # Where the seats at a provider are counted for all replicas; without it, each counts its own share.
    valkey_url: RedisDsn | None = None
    # A gate that has not answered by then is left alone: somebody listens for the first word.
    valkey_seconds: float = Field(default=1, gt=0, le=30)


class Settings(GateSettings):
    """Read once in `__main__`, from SYNTHESIS_* variables; never imported elsewhere."""

    model_config = SettingsConfigDict(env_prefix="SYNTHESIS_", frozen=True)

    # Names or import strings "module:Class", comma separated; each must be loadable or nothing starts.
    engines: str = "local"
    # Memos being made at once in this process; the next caller is told to come back.
    memos_limit: int = Field(default=64, ge=1, le=1024)
    # Processes that level, mix and encode, of 50 MB each; 0 for one for each core, at most four.
    mixing_processes: int = Field(default=0, ge=0, le=64)
    # Backgrounds that visitors listen to, being made at once; they share one thread.
    previews_limit: int = Field(default=8, ge=1, le=64)
    # An import string of a class that marks all that is spoken; empty for none.
    watermark: str = ""
