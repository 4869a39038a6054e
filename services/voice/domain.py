"""What is true of a user's voice, whoever asks.

A voice is one value: the sample, the clone made of it, the change that is under way, and what earlier
changes left behind. Every change makes a new value with a higher revision, and is stored only if the
revision that it was made from is still the stored one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from services.kernel.errors import Kind, ServiceError


class VoiceCloneRequired(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CLONE_REQUIRED"
    action = "Upload a voice sample, then perform again."


class VoiceSampleNotFound(ServiceError):
    kind, reason = Kind.NOT_FOUND, "VOICE_SAMPLE_NOT_FOUND"
    action = "Upload a voice sample first."


class VoiceChangedMeanwhile(ServiceError):
    kind, reason = Kind.CONFLICT, "VOICE_CHANGED_MEANWHILE"
    action = "Look at the voice as it is now, and upload again if it is not what you want."


class VoiceStoreUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_STORE_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


class BlobMissing(Exception):
    """A blob that a document names is not there (any more)."""


class PinsUnavailable(Exception):
    """Pins can be neither set nor removed now; they expire by themselves."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What the user agreed to, when, and with which client."""

    statement: str
    given_at: datetime
    client: str


@dataclass(frozen=True, slots=True)
class SealedBlob:
    """A blob at rest, and the key that opens it."""

    name: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    # SHA-256 over the normalised PCM, in hex.
    hash: str
    seconds: float
    # Of the stored MP3.
    size_bytes: int
    transcoded: bool
    audio: SealedBlob
    consent: Consent


@dataclass(frozen=True, slots=True)
class Clone:
    clone_id: str
    provider: str
    engine: str
    engine_voice_id: str
    voice_source: str
    # Occupies one of the provider's slots.
    in_pool: bool
    # Only of engines that keep no voices themselves.
    profile: SealedBlob | None
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change under way. It names all that it may leave behind before it makes any of it."""

    attempt_id: str
    provider: str
    expires_at: datetime

    @property
    def audio_name(self) -> str:
        return f"samples/{self.attempt_id}"

    @property
    def profile_name(self) -> str:
        return f"profiles/{self.attempt_id}"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is to be removed: blobs, and a voice at a provider (empty when there is none)."""

    blobs: tuple[str, ...]
    provider: str = ""
    engine_voice_id: str = ""
    # Whose attempt it is may still be at work until then, and make what was removed once more.
    until: datetime | None = None


# Whoever left something removes it at once; a sweeper comes after this, for those who died.
_SWEPT_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Voice:
    """`revision` 0 is a voice that is not stored. `fence` is the revision at which it last changed."""

    user_id: str
    revision: int = 0
    fence: int = 0
    sample: Sample | None = None
    clone: Clone | None = None
    attempt: Attempt | None = None
    leftovers: tuple[Leftover, ...] = ()
    changed_at: datetime | None = None
    # When a sweeper should look at it; absent when there is nothing to do.
    sweep_at: datetime | None = None

    @property
    def empty(self) -> bool:
        return not (self.sample or self.clone or self.attempt or self.leftovers)

    @property
    def state(self) -> str:
        if self.sample is None:
            return "none"
        return "ready" if self.clone else "evicted"

    def is_made_of(self, sample_hash: str, engine: str) -> bool:
        return (
            self.sample is not None
            and self.clone is not None
            and self.sample.hash == sample_hash
            and self.clone.engine == engine
        )

    def is_claimed(self, now: datetime) -> bool:
        return self.attempt is not None and now < self.attempt.expires_at

    def claimed(self, attempt: Attempt, now: datetime) -> Self:
        """With this attempt under way; what an expired one left is to be removed."""
        cleared = self.abandoned(now)
        return replace(cleared, attempt=attempt, sweep_at=attempt.expires_at, revision=self._next(now))

    def abandoned(self, now: datetime, engine_voice_id: str = "") -> Self:
        """Without the attempt that is under way, which has made this voice at its provider, if any."""
        if self.attempt is None:
            return self
        return self._leaving(now, _remains(self.attempt, engine_voice_id), attempt=None)

    def holding(self, sample: Sample, clone: Clone, now: datetime) -> Self:
        """With the attempt's outcome; what was there before is to be removed."""
        changed = {"sample": sample, "clone": clone, "attempt": None, "changed_at": now}
        return self._leaving(now, *self._held(), fence=self._next(now), **changed)

    def erased(self, now: datetime) -> Self:
        """With nothing but what has to be removed, also what an attempt under way may yet make."""
        left = list(self._held())
        if self.attempt:
            left.append(replace(_remains(self.attempt), until=self.attempt.expires_at))
        gone = {"sample": None, "clone": None, "attempt": None, "changed_at": now}
        return self._leaving(now, *left, fence=self._next(now), **gone)

    def cleaned(self, now: datetime) -> Self:
        """After all leftovers have been removed; those that may come back are kept in mind."""
        kept = tuple(left for left in self.leftovers if left.until and now < left.until)
        times = [left.until for left in kept if left.until]
        if self.attempt:
            times.append(self.attempt.expires_at)
        return replace(self, leftovers=kept, sweep_at=max(times, default=None), revision=self._next(now))

    def _held(self) -> tuple[Leftover, ...]:
        blobs = [self.sample.audio.name] if self.sample else []
        if self.clone is None:
            return (Leftover(tuple(blobs)),) if blobs else ()
        if self.clone.profile:
            blobs.append(self.clone.profile.name)
        return (Leftover(tuple(blobs), self.clone.provider, self.clone.engine_voice_id),)

    def _leaving(self, now: datetime, *left: Leftover, **changes: object) -> Self:
        leftovers = (*self.leftovers, *left)
        sweep_at = now + _SWEPT_AFTER if leftovers else None
        return replace(
            self,
            **{"leftovers": leftovers, "sweep_at": sweep_at, "revision": self._next(now), **changes},  # type: ignore[arg-type]
        )

    def _next(self, now: datetime) -> int:
        """Grows also over an erasure, after which nothing is left to count from: it follows the clock."""
        return max(self.revision + 1, round(now.timestamp() * 1000))


def _remains(attempt: Attempt, engine_voice_id: str = "") -> Leftover:
    provider = attempt.provider if engine_voice_id else ""
    return Leftover((attempt.audio_name, attempt.profile_name), provider, engine_voice_id)


@dataclass(frozen=True, slots=True)
class Lease:
    """A voice for one performance."""

    engine: str
    engine_voice_id: str
    profile: bytes
    voice_source: str
    sample_hash: str
    fence: int


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording as it came, and what its sender believes of it."""

    recording: bytes
    claimed_mime: str = ""
    claimed_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an upload did: `action` is created, updated, unchanged or promoted."""

    action: str
    sample: Sample
    clone: Clone
