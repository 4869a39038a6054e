"""What a voice is made of, and what passes in and out."""

from dataclasses import dataclass
from datetime import datetime


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
    # That of the attempt that made it.
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
    # Somebody is about to remove it, to make room. A mark whose time is over is no mark.
    leaving_until: datetime | None = None

    def is_leaving(self, now: datetime) -> bool:
        return self.leaving_until is not None and now < self.leaving_until


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change under way. It names all that it may leave behind before it makes any of it.

    At a pooled provider the add, its place and its label have the same id.
    """

    attempt_id: str
    provider: str
    expires_at: datetime
    # Of the sample that a clone is made of; empty in documents of earlier releases.
    sample_hash: str = ""

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
    # Until then its blobs may be made once more: by whose attempt it is, who may still be at work, or by a
    # write that had no answer. They are removed again after that.
    until: datetime | None = None
    # Of the attempt that made the voice, whose place it is in.
    attempt_id: str = ""
    # A performance that was begun before may speak in it until then.
    not_before: datetime | None = None

    def must_wait(self, now: datetime) -> bool:
        return self.not_before is not None and now < self.not_before


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
    # The same sample was there before.
    dedup: bool = False


@dataclass(frozen=True, slots=True)
class Touched:
    """How ready a voice is: `status` is ready, warming, waiting or missing."""

    status: str
    clone_id: str | None = None
    # Among the voices at the provider, by last use: 0 is the most recent.
    position: int | None = None
    size: int = 0
    enabled: bool = False
