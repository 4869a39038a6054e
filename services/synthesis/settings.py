"""What this service reads from its environment."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once in `__main__`, from SYNTHESIS_* variables; never imported elsewhere."""

    model_config = SettingsConfigDict(env_prefix="SYNTHESIS_", frozen=True)

    # Import strings "module:Class", comma separated; each must be loadable or nothing starts.
    engines: str = "services.synthesis.engines.local:LocalEngine"
    # Memos being made at once in this process; the next caller is told to come back.
    memos_limit: int = Field(default=64, ge=1, le=1024)
    # Threads that level, mix and encode; 0 for one for each core.
    mixing_threads: int = Field(default=0, ge=0, le=64)
