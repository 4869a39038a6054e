"""The environment variables of the speech route."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SpeechSettings(BaseSettings):
    """Read once in `__main__`, from PERFORM_SPEECH_* variables."""

    model_config = SettingsConfigDict(env_prefix="PERFORM_SPEECH_", frozen=True)

    # 4096 characters are five minutes of audio; never beyond the caller's own deadline.
    seconds: float = Field(default=165, gt=0, le=280)
