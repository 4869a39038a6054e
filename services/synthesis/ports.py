"""What synthesis needs from outside: something that speaks."""

from collections.abc import AsyncGenerator
from typing import Protocol

from services.synthesis.domain import EnrolledVoice, Utterance


class Engine(Protocol):
    """Speaks text in an enrolled voice as 16-bit little-endian mono PCM.

    Raises EngineUnavailable (down, or its worker died), EngineOverloaded (its queue is full),
    VoiceNotEnrolled (the profile is not one of this engine's) and LanguageNotSpoken.
    """

    name: str
    sample_rate: int

    async def start(self) -> None:
        """Load and warm up; returns when the first request will be as fast as the rest."""

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        """Turn 16-bit mono speech into a voice profile that `speak` accepts; under 1 MB."""

    def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it is made, clause by clause. Consume inside `aclosing`."""

    async def close(self) -> None: ...
