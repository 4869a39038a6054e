"""What synthesis needs from outside: something that speaks, and perhaps something that marks speech."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from services.synthesis.domain import EnrolledVoice, Utterance


class Engine(Protocol):
    """Speaks text in an enrolled voice as 16-bit little-endian mono PCM.

    Raises EngineUnavailable (down, or its worker died), EngineOverloaded (its queue is full),
    VoiceNotEnrolled (the profile is not one of this engine's), ProviderVoiceMissing (the engine's
    provider no longer has the voice) and LanguageNotSpoken.
    """

    name: str
    sample_rate: int

    async def start(self) -> None:
        """Load and warm up; returns when the first request will be as fast as the rest.

        Raises EngineUnavailable, whose message says in one line what is missing: the server does not start.
        """

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        """Turn 16-bit mono speech into a voice profile that `speak` accepts; under 1 MB."""

    def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        """Yield PCM as it is made, clause by clause. Consume inside `aclosing`."""

    async def close(self) -> None: ...


@runtime_checkable
class SpeaksAsWritten(Protocol):
    """What an engine may offer beside `speak`: to begin while the text is still being written."""

    def speak_as_written(
        self, utterance: Utterance, further: AsyncIterator[str], voice: EnrolledVoice
    ) -> AsyncGenerator[bytes, None]:
        """Like `speak`; the text goes on with `further`, which ends when it is whole.

        What is there by then is spoken before more is awaited. Whoever was admitted is not refused later.
        """


@runtime_checkable
class SpeaksByModel(Protocol):
    """What an engine may say beside its name: which of its provider's models speaks. Prices go by that."""

    model: str


class Mark(Protocol):
    """The mark of one memo, while it is made."""

    def add(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is marked by now, of all that was added; where samples are cut changes nothing."""

    def finish(self) -> NDArray[np.float32]:
        """The rest: altogether as many as were added."""


class Watermark(Protocol):
    """Hides in the sound itself that a machine spoke, where no listener hears it."""

    name: str

    def begin(self, sample_rate: int) -> Mark:
        """The same for each memo: the same samples are marked the same."""

    def found(self, samples: NDArray[np.float32], sample_rate: int) -> bool:
        """Whether this audio, as it was decoded from any of our formats, has the mark."""
