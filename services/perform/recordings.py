"""What a user may do with their recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from services.kernel.errors import ServiceError
from services.kernel.ranges import Span, span
from services.perform.domain import Recording, TimeLimits, check_date
from services.perform.errors import RecordingNotFound
from services.perform.filing import RecordingFilter, id_in_file_name, page_token, place, wanted
from services.perform.ports import Clock, Ports

log = structlog.get_logger()

USUAL_PAGE = 20
_LARGEST_PAGE = 100
_RETIRED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Shown:
    """`active`: made from the sample that the user has now."""

    recording: Recording
    active: bool


@dataclass(frozen=True, slots=True)
class Audio:
    content: bytes
    size: int
    # None when it is the whole.
    part: Span | None


class Archive:
    def __init__(self, ports: Ports, limits: TimeLimits, now: Clock) -> None:
        self._recordings = ports.recordings
        self._blobs = ports.blobs
        self._voices = ports.voices
        self._limits = limits
        self._now = now

    async def page(self, user_id: str, asked: RecordingFilter, size: int) -> tuple[list[Shown], str]:
        """Newest first, and the token of the next page, empty on the last one. A token names the last
        recording seen, so what is added or deleted meanwhile shifts nothing."""
        size = size or USUAL_PAGE
        found = await self._recordings.page(user_id, asked, size + 1)
        page, following = cut(found, size)
        return await self._shown(user_id, page), following

    async def get(self, user_id: str, recording_id: str) -> Shown:
        found = await self._recordings.get(user_id, _id(recording_id))
        return (await self._shown(user_id, [found]))[0]

    async def change(self, user_id: str, recording_id: str, title: str | None, day: str | None) -> Shown:
        """The file name stays: links that were given out go on working."""
        if day is not None:
            check_date(day)
        changed = await self._recordings.change(user_id, _id(recording_id), title, day)
        return (await self._shown(user_id, [changed]))[0]

    async def delete(self, user_id: str, recording_id: str) -> None:
        """Gone for its user at once, and for good by the sweeper when its time is over."""
        if not self._limits.deleted:
            await self._delete_for_good(user_id, _id(recording_id))
            return
        await self._recordings.hide(user_id, _id(recording_id), self._now() + self._limits.deleted)
        log.info("recording_deleted", recording_id=recording_id)

    async def _delete_for_good(self, user_id: str, recording_id: UUID) -> None:
        """A crash before the audio is removed is the sweeper's."""
        now = self._now()
        await self._recordings.hide(user_id, recording_id, now + self._limits.takeover)
        await self._blobs.delete(user_id, recording_id)
        await self._recordings.forget(recording_id, now + self._limits.key)
        log.info("recording_deleted", recording_id=str(recording_id))

    async def retire(self) -> int:
        """Delete what is older than recordings are kept; how many there were."""
        if self._limits.recording is None:
            return 0
        found = await self._recordings.older_than(self._now() - self._limits.recording, _RETIRED_AT_ONCE)
        for each in found:
            try:
                await self._delete_for_good(each.user_id, each.recording_id)
            except RecordingNotFound:
                log.debug("recording_deleted_meanwhile", recording_id=str(each.recording_id))
        return len(found)

    async def export(self, user_id: str, token: str) -> tuple[Sequence[Recording], str]:
        """As `page`, as many as a page may have, without asking the voice service."""
        found = await self._recordings.page(user_id, wanted("", "", "", token), _LARGEST_PAGE + 1)
        return cut(found, _LARGEST_PAGE)

    async def audio(self, user_id: str, recording_id: str, filename: str, asked: str) -> Audio:
        """`asked` is the Range header, empty for the whole."""
        named = _id(recording_id) if recording_id else id_in_file_name(filename)
        if named is None:
            raise RecordingNotFound("There is no such recording.")
        found = await self._recordings.get(user_id, named)
        part = span(asked, found.size_bytes)
        content = await self._blobs.get(user_id, named, part)
        return Audio(content, found.size_bytes, part)

    async def _shown(self, user_id: str, recordings: Sequence[Recording]) -> list[Shown]:
        if not recordings:
            return []
        changed_at = await self._sample_changed_at(user_id)
        return [Shown(each, changed_at is not None and each.leased_at >= changed_at) for each in recordings]

    async def _sample_changed_at(self, user_id: str) -> datetime | None:
        """The list must appear on stage also while the voice service is down; then none is marked active."""
        try:
            return await self._voices.sample_changed_at(user_id)
        except ServiceError as error:
            log.warning("active_sample_unknown", cause=error.reason)
            return None


def cut(found: Sequence[Recording], size: int) -> tuple[Sequence[Recording], str]:
    """One page of what was found, which is one more if there is another page, and that one's token."""
    if len(found) <= size:
        return found, ""
    last = found[size - 1]
    return found[:size], page_token(place(last.created_at, last.recording_id))


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise RecordingNotFound("There is no such recording.") from None
