"""What the voice service needs from outside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.kernel.errors import Kind, ServiceError
from services.voice.domain import Bookmark, Clone, SealedBlob, Voice


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


class Register(Voices, Protocol):
    """All voices, also across users, for who looks after them all. Raises VoiceStoreUnavailable."""

    async def of(self, user_ids: Collection[str]) -> Sequence[Voice]:
        """Those of them that are stored."""

    async def held_at(self, provider: str) -> Sequence[Voice]:
        """All whose clone takes a place at this provider."""

    async def with_clone(self, clone_id: str) -> Voice | None:
        """Whose clone it is, the one spoken in or the one standing by."""

    async def clones_before(self, bookmark: Bookmark | None, limit: int) -> Sequence[tuple[Voice, Clone]]:
        """The next clones, newest first, with whose they are; from the newest one without a bookmark. One
        that is made meanwhile is there or not, no other is left out or told twice."""


class Answers(Protocol):
    """What uploads and clones answered. Raises VoiceStoreUnavailable."""

    async def forget(self, user_id: str) -> int:
        """Erase all answers to a user; how many there were."""


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

    async def pin(self, user_id: str, performance_id: str, until: datetime) -> bool:
        """False when this performance holds it already: then the pin is renewed."""

    async def unpin(self, user_id: str, performance_id: str) -> None: ...

    async def pinned(self, user_id: str, now: datetime) -> int:
        """How many performances hold this user's voice."""

    async def pinned_among(self, user_ids: Sequence[str], now: datetime) -> frozenset[str]:
        """Those of them whose voices are held by a performance."""

    async def forget(self, user_id: str) -> None:
        """Whoever holds this user's voice, holds it no longer."""


class Examiner(Protocol):
    """Looks into a recording."""

    async def examine(self, recording: bytes) -> NormalisedSample:
        """Raises a SampleRefused, or SampleQueueFull."""

    async def reread(self, mp3: bytes) -> NormalisedSample:
        """A sample that was accepted before, of which only the MP3 was kept. Goes before all recordings.
        Raises VoiceStoreUnavailable.

        Its hash is not that of the sample: what an MP3 sounds like is not exactly what it was made of."""


@dataclass(frozen=True, slots=True)
class HeldVoice:
    """A voice at a provider; without ids when it is not one of ours."""

    engine_voice_id: str
    name: str
    user_id: str
    attempt_id: str
    made_at: datetime | None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a provider sells us: places to keep voices in, and adds in one billing cycle."""

    places: int
    places_taken: int
    # None when adds are not counted.
    adds: int | None
    adds_spent: int
    renewed_at: datetime | None


class Places(Protocol):
    """The limited places for voices at a pooled provider.

    Like `Provider`, raises ProviderBusy, ProviderUnavailable and ProviderRefusedUs: nothing has happened.
    `rename` alone may have happened all the same after ProviderUnavailable.
    """

    async def held(self) -> Sequence[HeldVoice]:
        """All of them or an error, never a part."""

    async def has(self, engine_voice_id: str) -> bool:
        """Whether this one is there, also when the list lags behind."""

    async def rename(self, engine_voice_id: str, name: str) -> None:
        """Safe to repeat, but each may spend an add. Raises ProviderVoiceMissing and ProviderAddsSpent."""

    async def allowance(self) -> Allowance: ...


class PooledProvider(Provider, Places, Protocol):
    """A provider with a limited number of places."""


class ProviderUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_PROVIDER_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 5


class ProviderBusy(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_PROVIDER_BUSY"
    action = "Try again after the time in Retry-After."
    retry_after_seconds = 5


class ProviderRefusedUs(ServiceError):
    """Our key, or what we asked for: asking again does not help, an operator must look."""

    kind, reason = Kind.UPSTREAM, "VOICE_PROVIDER_REFUSED"
    action = "Try again later; if it goes on, tell whoever runs this server."


class ProviderPlacesTaken(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_PLACES_TAKEN"
    action = "Try again after the time in Retry-After, when another voice may have made room."
    retry_after_seconds = 30


class ProviderAddsSpent(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_ADDS_SPENT"
    action = "Try again when the provider's billing cycle turns."
    retry_after_seconds = 3600


class ProviderVoiceMissing(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CLONE_REQUIRED"
    action = "Upload a voice sample, then perform again."


class OutcomeUnknown(ServiceError):
    """The provider was asked and the answer was lost: it may have happened, now or later."""

    kind, reason = Kind.UPSTREAM, "VOICE_OUTCOME_UNKNOWN"
    action = "Try again in a minute."


class CloneOutcomeUnknown(OutcomeUnknown):
    """There may be a voice with this attempt's id that nobody has the name of."""


class DiscardOutcomeUnknown(OutcomeUnknown):
    """The voice may still be there, and in its place."""
