"""The environment variables of the speech route."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SpeechSettings(BaseSettings):
    """Read once in `__main__`, from PERFORM_SPEECH_* variables."""

    model_config = SettingsConfigDict(env_prefix="PERFORM_SPEECH_", frozen=True)

    # Credits, voice and engine may be waited for so long, all in all; what the listener takes does not
    # count. Below the route's deadline of 170 seconds: a speech that is cut by that one is charged as if
    # its listener had left.
    seconds: float = Field(default=165, gt=0, le=280)
