"""How a recording is found again: by file name, by its place in the list."""

import re
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.perform.errors import MomentNotReal, PageTokenInvalid


def file_name(title: str, day: str, recording_id: UUID) -> str:
    """ASCII words from title and date, then the id, by which alone the file is found again."""
    plain = unicodedata.normalize("NFKD", f"{title} {day}").encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:64].strip("-")
    return f"{words}-{recording_id.hex}.mp3"


def id_in_file_name(filename: str) -> UUID | None:
    found = re.fullmatch(r"(?:[a-z0-9-]*-)?([0-9a-f]{32})\.mp3", filename)
    return UUID(found[1]) if found else None


def place(created_at: datetime, recording_id: UUID) -> str:
    """Where a recording stands in its owner's list: unique, and later ones sort after earlier ones."""
    return f"{place_at(created_at)}{recording_id.hex}"


def place_at(moment: datetime) -> str:
    """Before every place of that millisecond, after every place of earlier ones."""
    return f"{max(0, round(moment.timestamp() * 1000)):014d}"


FIRST_PLACE = "0"
# Sorts behind every place.
NEWEST_PLACE = "~"


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings a list shows: those from one place up to, not including, another."""

    first: str = FIRST_PLACE
    before: str = NEWEST_PLACE
    # Empty for any.
    voice_source: str = ""


def wanted(recorded_from: str, recorded_to: str, voice_source: str, token: str) -> RecordingFilter:
    """A day as the end is part of what is wanted. Raises MomentNotReal, PageTokenInvalid."""
    first = place_at(_moment(recorded_from, timedelta())) if recorded_from else FIRST_PLACE
    before = place_at(_moment(recorded_to, timedelta(days=1))) if recorded_to else NEWEST_PLACE
    if token:
        before = min(before, place_in_token(token))
    return RecordingFilter(first, before, voice_source)


def _moment(text: str, of_a_day: timedelta) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if len(text) == len("2000-01-01"):
            return found.replace(tzinfo=UTC) + of_a_day
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None:
        raise MomentNotReal(f"{text} is neither a day nor a moment with its time zone.")
    return found


def page_token(last_place: str) -> str:
    return urlsafe_b64encode(last_place.encode()).decode().rstrip("=")


def place_in_token(token: str) -> str:
    try:
        found = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except ValueError:
        found = ""
    if not re.fullmatch(r"[0-9]{14}[0-9a-f]{32}", found):
        raise PageTokenInvalid("The page token is not one of ours.")
    return found


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """What the blob store knows of a recording: where it lies, and which it should be."""

    path: str
    recording_id: UUID
