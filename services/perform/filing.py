"""How a recording is found again: by file name, by its place in the list, by a range of its bytes."""

import re
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.perform.errors import PageTokenInvalid, RangeNotSatisfiable


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
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def span(header: str, size: int) -> Span | None:
    """What a Range header asks for; None for the whole, also when it asks in a way we need not know."""
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header, re.IGNORECASE | re.ASCII)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        asked = Span(max(0, size - int(found[2])), size)
    else:
        last = int(found[2]) if found[2] else size - 1
        if last < int(found[1]) and found[2]:
            return None
        asked = Span(int(found[1]), min(last + 1, size))
    if asked.start >= asked.end:
        raise RangeNotSatisfiable(f"The recording has {size} bytes.")
    return asked
