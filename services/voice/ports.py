"""What the voice service needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.voice.domain import SealedBlob, Voice


@dataclass(frozen=True, slots=True)
class NormalisedSample:
    """A sample that was accepted: 16-bit mono PCM and the MP3 of the same sound."""

    hash: str
    pcm: bytes
    sample_rate: int
    mp3: bytes
    seconds: float
    transcoded: bool


@dataclass(frozen=True, slots=True)
class ClonedVoice:
    """The engine's own name for a voice; `profile` is for engines that keep no voices themselves."""

    engine_voice_id: str
    profile: bytes = b""


class Provider(Protocol):
    """Makes voices that an engine can speak in.

    `engine` is the engine that speaks in them, `voice_source` what callers are told about them, and
    `pooled` says that each takes one of a limited number of places at the provider.
    """

    name: str
    engine: str
    voice_source: str
    pooled: bool

    async def clone(self, sample: NormalisedSample, user_id: str, attempt_id: str) -> ClonedVoice:
        """Both ids go with the voice, so that one whose answer was lost can be found again."""

    async def discard(self, engine_voice_id: str) -> None:
        """Remove a voice. Safe to repeat, and when it is already gone."""


class Voices(Protocol):
    """All voices, one for each user. Raises VoiceStoreUnavailable."""

    async def get(self, user_id: str) -> Voice:
        """An empty voice when there is none."""

    async def replace(self, seen: Voice, made: Voice) -> bool:
        """Store `made` if `seen` is still what is stored; False when it is not. An empty one is removed."""

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        """Voices whose time to be swept has come."""


class Blobs(Protocol):
    """Keeps bytes encrypted. Raises VoiceStoreUnavailable."""

    async def put(self, name: str, content: bytes) -> SealedBlob: ...

    async def get(self, blob: SealedBlob) -> bytes:
        """Raises BlobMissing."""

    async def delete(self, name: str) -> None:
        """Safe to repeat."""


class Pins(Protocol):
    """Which performances speak in whose voice now. Losing them costs time, never truth.

    Raises PinsUnavailable.
    """

    async def pin(self, user_id: str, performance_id: str, until: datetime) -> None: ...

    async def unpin(self, user_id: str, performance_id: str) -> None: ...

    async def pinned(self, user_id: str, now: datetime) -> int:
        """How many performances hold this user's voice."""

    async def forget(self, user_id: str) -> None:
        """Whoever holds this user's voice, holds it no longer."""


class Examiner(Protocol):
    """Looks into a recording. Raises a SampleRefused, or SampleQueueFull."""

    async def examine(self, recording: bytes) -> NormalisedSample: ...
