"""What performing needs from outside.

Any method may also raise PeerUnavailable or Deadline (peers) or StorageUnavailable (stores); the rest is
listed.
"""

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.kernel.ranges import Span
from services.perform.domain import (
    AudioSummary,
    Charge,
    Delivery,
    Failure,
    LeasedVoice,
    Note,
    Order,
    Performance,
    Phase,
    Preferences,
    Recording,
    Speaker,
    State,
    Usage,
)
from services.perform.filing import RecordingFilter, StoredAudio
from services.perform.script import Script
from services.perform.speech import HeldKey, KeyClaim, Spoken


class Credits(Protocol):
    async def reserve(
        self, user_id: str, performance_id: UUID, longest_text: int, began_at: datetime, model: str = ""
    ) -> Preferences:
        """Set credits aside, and return the user's settings. Raises CREDITS_EXHAUSTED.

        As many as the dearest model would cost, unless it is known which one speaks.
        """

    async def settle(self, user_id: str, performance_id: UUID, characters: int, model: str) -> Charge:
        """Charge what was spoken. Safe to repeat: the first outcome stands."""

    async def release(self, user_id: str, performance_id: UUID) -> None:
        """Give a reservation back. Safe to repeat, also when there never was one."""


class Voices(Protocol):
    async def lease(self, user_id: str, performance_id: UUID) -> LeasedVoice:
        """The user's voice, pinned until released. Raises VOICE_CLONE_REQUIRED."""

    async def begin_lease(self, user_id: str, performance_id: UUID) -> LeasedVoice | None:
        """Lease without waiting. None while the voice is being cloned: the lease is held; `lease` waits for
        it."""

    async def lease_overflow(self, user_id: str, performance_id: UUID) -> LeasedVoice:
        """In place of the leased voice, whose engine is away. Raises VOICE_SLOTS_EXHAUSTED where there is
        none; from an older voice service it is the same voice again."""

    async def release(self, user_id: str, performance_id: UUID) -> None:
        """Safe to repeat, also when there never was a lease."""

    async def report_missing(self, user_id: str, lost: LeasedVoice) -> None:
        """The provider no longer has it: the next lease is another voice. Safe to repeat."""

    async def clone_id(self, user_id: str) -> str:
        """The name under which the user knows their voice; empty without one."""

    async def sample_changed_at(self, user_id: str) -> datetime | None:
        """When the caller's present sample came; None without one."""


class Notes(Protocol):
    streams: bool
    """Whether `write` is worth while, by the last answer."""

    async def compose(self, order: Order, language: str, user_id: str) -> Note:
        """Raises CONTENT_REFUSED, CONTENT_RULES_NOT_MET, VALUE_TOO_LONG."""

    def write(self, order: Order, language: str, user_id: str) -> AsyncGenerator[str | Note, None]:
        """Like `compose`, streamed: pieces of text, then the Note. Without a Note the text is incomplete."""


class Speech(Protocol):
    def speak(
        self, script: Script, voice: LeasedVoice, delivery: Delivery, recording_id: UUID
    ) -> AsyncGenerator[Speaker | bytes | AudioSummary, None]:
        """Who speaks, audio as it is made, then what was made; audio without that is not whole.

        A script that is still being written is spoken as far as it goes, then on. Raises VoiceMissing when
        the voice is no longer where it was kept, MODEL_NOT_FOUND when it is not spoken by the wanted model.
        """


class Blobs(Protocol):
    """Audio by owner and recording."""

    async def put(self, user_id: str, recording_id: UUID, audio: bytes | bytearray) -> None:
        """All of it or nothing. Safe to repeat."""

    async def get(self, user_id: str, recording_id: UUID, part: Span | None = None) -> bytes:
        """Raises RecordingNotFound."""

    async def size(self, user_id: str, recording_id: UUID) -> int:
        """Raises RecordingNotFound."""

    async def delete(self, user_id: str, recording_id: UUID) -> None:
        """Safe to repeat, also when there never was any."""

    async def delete_all(self, user_id: str) -> int:
        """All audio of a user, also what no performance knows of; how much there was."""

    def older_than(self, moment: datetime) -> AsyncGenerator[Sequence[StoredAudio], None]:
        """Everybody's, in parts of any size."""

    async def remove(self, audio: Sequence[StoredAudio]) -> None:
        """Safe to repeat."""


class AudioReferences(Protocol):
    """What leads to audio."""

    async def with_audio(self, ids: Sequence[UUID]) -> Collection[UUID]:
        """Those of them whose audio is wanted, or may still be."""


class Performances(AudioReferences, Protocol):
    """The journal: one document for each performance, changed only where it still is as expected."""

    async def claim(self, performance: Performance) -> Performance | None:
        """Write a new one down. None when that worked, else the one that holds its key."""

    async def holder(self, performance: Performance) -> Performance | None:
        """The one that holds the key under which this one would be written down. Writes nothing."""

    async def find(self, performance_id: UUID) -> Performance | None: ...

    async def renew(self, performance_id: UUID, due_at: datetime) -> bool:
        """Who performs is alive: nobody may take over before then. False when it is not theirs any more."""

    async def free_key(self, performance_id: UUID) -> None:
        """The key may be used again; the outcome stays. Changes nothing while there is none."""

    async def keep(self, recording: Recording, due_at: datetime) -> None:
        """The point of no return. Raises PerformanceInterrupted when it was taken over before."""

    async def begin_undo(self, performance_id: UUID) -> bool:
        """Nobody can keep it any more. False when it is kept already, or was taken over."""

    async def fail(
        self, performance_id: UUID, state: State, failure: Failure, ended_at: datetime, until: datetime
    ) -> None:
        """Write down that it came to nothing, remembered until then; its key may be used again."""

    async def succeed(self, performance_id: UUID, charge: Charge, ended_at: datetime) -> None:
        """Its key stays: until its caller has the answer, and beyond that if it is the caller's own."""

    async def due(self, now: datetime, phases: Collection[Phase], limit: int) -> list[Performance]:
        """Unfinished ones in these phases whose time is up."""

    async def take_over(self, performance: Performance, until: datetime) -> bool:
        """Make an unfinished one ours until then; false when somebody else was quicker."""

    async def of_user(self, user_id: str, limit: int) -> list[Performance]: ...

    async def remove(self, performance_id: UUID) -> None:
        """As if it had never been. Safe to repeat."""


class Recordings(Protocol):
    async def page(self, user_id: str, wanted: RecordingFilter, limit: int) -> Sequence[Recording]:
        """Newest first."""

    async def get(self, user_id: str, recording_id: UUID) -> Recording:
        """Raises RecordingNotFound, also for other users' recordings."""

    async def change(self, user_id: str, recording_id: UUID, title: str | None, day: str | None) -> Recording:
        """Raises RecordingNotFound."""

    async def hide(self, user_id: str, recording_id: UUID, due_at: datetime) -> None:
        """It is gone for everybody; its audio is removed then. Raises RecordingNotFound."""

    async def forget(self, recording_id: UUID, until: datetime) -> None:
        """The audio is removed as well; only the outcome of its key is remembered until then."""

    async def older_than(self, moment: datetime, limit: int) -> Sequence[Recording]:
        """Recordings of any user that were made before that moment."""

    async def kept(self, user_id: str) -> Usage:
        """How much a user has; what was deleted does not count."""


class Turns(Protocol):
    """Work that one process does for all."""

    async def take_turn(self, work: str, now: datetime, until: datetime) -> bool:
        """Nobody else may before then; false when it is not over for who has it."""


class SpeechKeys(AudioReferences, Protocol):
    """Idempotency-Keys of speech, which lead to what was spoken under them."""

    async def claim(self, claim: KeyClaim, now: datetime, until: datetime) -> HeldKey | None:
        """Take it until then. None when that worked, else what somebody else does or did under it."""

    async def spend(self, claim: KeyClaim, spoken: Spoken, until: datetime) -> bool:
        """It was spoken, and is kept until then. False when the key is not this claim's any more."""

    async def free(self, claim: KeyClaim) -> None:
        """It came to nothing: the key may be used again. Safe to repeat."""


class Clock(Protocol):
    def __call__(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Ports:
    credits: Credits
    voices: Voices
    notes: Notes
    speech: Speech
    blobs: Blobs
    performances: Performances
    recordings: Recordings
