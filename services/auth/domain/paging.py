"""Where a page of a list, newest first, goes on."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.auth.domain.errors import PageTokenInvalid

USUAL_PAGE = 20

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """The last thing that was shown: the next page begins after it."""

    at: datetime
    thing_id: str

    @property
    def token(self) -> str:
        milliseconds = (self.at - _EPOCH) // timedelta(milliseconds=1)
        return urlsafe_b64encode(f"{milliseconds}:{self.thing_id}".encode()).decode().rstrip("=")


def place_in(token: str) -> Place | None:
    """None for the first page. Raises PageTokenInvalid."""
    if not token:
        return None
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        milliseconds, _, thing_id = text.partition(":")
        return Place(_EPOCH + timedelta(milliseconds=int(milliseconds)), thing_id)
    except (ValueError, OverflowError) as error:
        raise PageTokenInvalid("The page token is not one of ours.") from error


def cut(found: Sequence[T], size: int, place: Callable[[T], Place]) -> tuple[Sequence[T], str]:
    """One page of what was found, which is one thing more if there is another page, and its token."""
    if len(found) <= size:
        return found, ""
    return found[:size], place(found[size - 1]).token
