"""Where a list of clones, newest first, goes on."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from uuid import UUID

from services.voice.domain.failures import PageTokenInvalid
from services.voice.domain.values import Clone

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Bookmark:
    """The last clone that was shown: the next page begins after it."""

    made_at: datetime
    clone_id: str

    @classmethod
    def at(cls, clone: Clone) -> Self:
        return cls(clone.made_at, clone.clone_id)

    @classmethod
    def of(cls, token: str) -> Self:
        """Raises PageTokenInvalid."""
        try:
            text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            milliseconds, _, clone_id = text.partition(":")
            return cls(_EPOCH + timedelta(milliseconds=int(milliseconds)), str(UUID(clone_id)))
        except (ValueError, OverflowError) as error:
            raise PageTokenInvalid("This page token is none of ours.") from error

    @property
    def token(self) -> str:
        milliseconds = (self.made_at - _EPOCH) // timedelta(milliseconds=1)
        return urlsafe_b64encode(f"{milliseconds}:{self.clone_id}".encode()).decode().rstrip("=")
