"""What is true of performances and recordings, whoever asks."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

import regex  # type: ignore[import-untyped]

from services.kernel.errors import ServiceError
from services.perform.errors import (
    DateNotReal,
    ValueTooLong,
    remembered,
)

T = TypeVar("T")

# The rules for notes allow so many characters, as people count them.
LONGEST_NOTE = 120
LONGEST_VALUE, LONGEST_VALUE_OF_SHIPPED_CLIENT = 200, 500
# A calm voice; only for the header that comes before the audio is made.
_CHARACTERS_PER_SECOND = 14.0
_USUAL_NOTE = 100
_LANGUAGE_NAMES = {"english": "en", "spanish": "es"}
# Nobody tells us their time zone, and a memo that is dated tomorrow gives the trick away: so it is the day
# that has come everywhere. From Europe to California that is the day of an evening's show.
_FURTHEST_WEST = timedelta(hours=12)
# What a phone calls a recording that nobody has named.
_UNNAMED = {"en": "New Recording", "es": "Nueva grabación"}


class State(StrEnum):
    # Written down and not begun. Performances begin at once, so nothing is in it today.
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """What is left to do if the process dies now."""

    # Not kept yet: undo every step that has an undo.
    DOING = "doing"
    UNDOING = "undoing"
    # Kept: settle, and let the voice go.
    KEEPING = "keeping"
    # Hidden by its owner: remove the audio.
    PURGING = "erasing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Override:
    """Settings for one performance; None means "as in the user's settings"."""

    voice_language: str | None = None
    voice_stability: int | None = None
    voice_similarity: int | None = None
    background_sound: bool | None = None
    background_volume: int | None = None
    voice_note_name: str | None = None
    voice_note_date: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller asks for."""

    routine_type: str
    value: str
    override: Override
    # What the note is about, where a caller named it; empty where the routine says it.
    topic: str = ""

    @classmethod
    def asked(cls, routine_type: str, value: str, override: Override, *, shipped_client: bool) -> "Order":
        """Refuses what no rule of the contract can say. The shipped client was promised longer values and
        cannot change."""
        longest = LONGEST_VALUE_OF_SHIPPED_CLIENT if shipped_client else LONGEST_VALUE
        if len(value) > longest:
            raise ValueTooLong(f"The value has {len(value)} characters; {longest} are allowed.")
        if override.voice_note_date:
            check_date(override.voice_note_date)
        return cls(routine_type, value, override)

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests, whatever route they came by, and since before there were topics."""
        asked = asdict(self)
        if not self.topic:
            del asked["topic"]
        return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def longest_text(self) -> int:
        """An upper bound for the length of the note, in the characters that are charged."""
        return LONGEST_NOTE + len(self.value) - len(regex.findall(r"\X", self.value))


@dataclass(frozen=True, slots=True)
class Preferences:
    """The user's own settings, as far as they matter here."""

    voice_language: str
    voice_stability: int
    voice_similarity: int
    background_sound: bool
    background_volume: int
    voice_note_name: str
    voice_note_date: str
    voice_note_name_default: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one performance sounds, and how its recording is filed."""

    language: str
    stability: int
    similarity: int
    # None: the voice alone.
    background_volume: int | None
    title: str
    date: str
    # A factor.
    speed: float = 1.0
    # mp3, opus, aac, flac, wav or pcm.
    audio_format: str = "mp3"
    # Empty for whichever speaks in the voice.
    model: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be said, who wrote it, and which models had been asked before and could not answer."""

    text: str
    model: str
    fallback_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeasedVoice:
    engine: str
    engine_voice_id: str
    profile: bytes
    # provider_voice_id or local_clone.
    source: str
    sample_hash: str
    # Grows with each change of the user's voice.
    fence: int = 0

    @property
    def at_provider(self) -> bool:
        return self.source == "provider_voice_id"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who is heard, known with the first audio: the model, by the name that prices are listed under."""

    model: str


@dataclass(frozen=True, slots=True)
class AudioSummary:
    """What the speech service says of audio that is whole."""

    duration_seconds: float
    waveform: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """What a succeeded performance leaves, under the same id."""

    recording_id: UUID
    user_id: str
    title: str
    date: str
    created_at: datetime
    duration_seconds: float
    size_bytes: int
    routine_type: str
    text: str
    voice_source: str
    sample_hash: str
    leased_at: datetime
    engine: str
    # What was spoken with, and is charged for.
    model: str
    waveform: tuple[int, ...]
    filename: str


@dataclass(frozen=True, slots=True)
class Charge:
    """What a performance cost, and where that leaves its user."""

    credits: int
    char_count: int
    monthly_limit: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no recording; enough to tell it again."""

    kind: int
    reason: str
    message: str
    action: str = ""
    retry_after_seconds: int = 0

    @classmethod
    def of(cls, error: ServiceError) -> "Failure":
        return cls(error.kind.value, error.reason, error.message, error.action, error.retry_after_seconds)

    def as_error(self) -> ServiceError:
        return remembered(self.kind, self.reason, self.action, self.retry_after_seconds)(self.message)


@dataclass(frozen=True, slots=True)
class Performance:
    """One request and its one outcome."""

    performance_id: UUID
    user_id: str
    # The client's Idempotency-Key; empty without one.
    key: str
    fingerprint: str
    created_at: datetime
    state: State
    phase: Phase
    # From then on a sweeper may take over; None when nothing is left to do.
    due_at: datetime | None
    recording: Recording | None = None
    charge: Charge | None = None
    failure: Failure | None = None
    ended_at: datetime | None = None

    @property
    def under_way(self) -> bool:
        return self.state in {State.PENDING, State.RUNNING}

    @property
    def has_recording(self) -> bool:
        """It is there for its user; not while it is settled, nor after they deleted it."""
        deleted = self.phase is Phase.PURGING or self.recording is None
        return self.state is State.SUCCEEDED and not deleted


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a user has."""

    recordings: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one user may have."""

    recordings: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long things may take, and how long they are remembered."""

    # From the claim to the kept recording.
    performance: timedelta
    # Who performs says within this time that they are alive, or somebody else takes over.
    takeover: timedelta
    # An outcome under its Idempotency-Key.
    key: timedelta
    # A recording; None for as long as its owner wants.
    recording: timedelta | None = None
    # An answer that nobody got, for who asks the same without a key.
    unheard: timedelta = timedelta(seconds=60)
    # The audio of a recording that its owner deleted.
    deleted: timedelta = timedelta()


def check_date(day: str) -> None:
    """The form is known to be right; the day may still not exist."""
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise DateNotReal(f"{day} is not a day of the calendar.") from error


def delivery(preferences: Preferences, override: Override, now: datetime) -> Delivery:
    """The user's settings with what this performance changes.

    Neither title nor date ever tells what was performed: the list of recordings is seen on stage.
    """
    language = language_tag(_either(override.voice_language, preferences.voice_language))
    usual_name = "" if preferences.voice_note_name_default else preferences.voice_note_name
    has_background = _either(override.background_sound, preferences.background_sound)
    volume = _either(override.background_volume, preferences.background_volume)
    unnamed = _UNNAMED.get(language.split("-")[0].lower(), _UNNAMED["en"])
    return Delivery(
        language=language,
        stability=_either(override.voice_stability, preferences.voice_stability),
        similarity=_either(override.voice_similarity, preferences.voice_similarity),
        background_volume=volume if has_background else None,
        title=_either(override.voice_note_name, usual_name) or unnamed,
        date=_either(override.voice_note_date, preferences.voice_note_date) or _safe_day(now),
    )


def _safe_day(now: datetime) -> str:
    return (now.astimezone(UTC) - _FURTHEST_WEST).date().isoformat()


def _either(first: T | None, second: T) -> T:
    return second if first is None else first


def language_tag(name: str) -> str:
    """BCP 47, also for names that clients used before there were tags."""
    return _LANGUAGE_NAMES.get(name.lower(), name)


def expected_seconds(text: str, *, whole: bool) -> float:
    """An estimate, for players that want to draw before they have heard."""
    characters = len(text) if whole else max(len(text), _USUAL_NOTE)
    return round(characters / _CHARACTERS_PER_SECOND, 1)
