"""How many recordings one user may keep."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.perform.domain import Quota, Usage
from services.perform.errors import RecordingsFull
from services.perform.ports import Clock, Recordings

# Nobody makes more than the margin within the time that a count is believed.
_BELIEVED = timedelta(minutes=1)
_MARGIN = Usage(100, 100 << 20)
_USERS = 10_000


@dataclass(frozen=True, slots=True)
class _Counted:
    kept: Usage
    until: datetime


class Room:
    """Asked before anything is paid for. What is under way at once is not counted: the limit guards the
    store, and a few more do it no harm."""

    def __init__(self, recordings: Recordings, quota: Quota, now: Clock) -> None:
        self._recordings = recordings
        self._quota = quota
        self._now = now
        self._counted: OrderedDict[str, _Counted] = OrderedDict()

    async def check(self, user_id: str) -> None:
        """Raises RecordingsFull."""
        kept = self._believed(user_id) or await self._count(user_id)
        if kept.recordings >= self._quota.recordings:
            raise RecordingsFull(f"You have {kept.recordings} recordings; no more can be kept.")
        if kept.size_bytes >= self._quota.size_bytes:
            raise RecordingsFull("Your recordings fill all the room there is for them.")

    def _believed(self, user_id: str) -> Usage | None:
        counted = self._counted.get(user_id)
        return counted.kept if counted is not None and counted.until > self._now() else None

    async def _count(self, user_id: str) -> Usage:
        kept = await self._recordings.kept(user_id)
        self._counted.pop(user_id, None)
        if self._is_far_below(kept):
            self._counted[user_id] = _Counted(kept, self._now() + _BELIEVED)
            while len(self._counted) > _USERS:
                self._counted.popitem(last=False)
        return kept

    def _is_far_below(self, kept: Usage) -> bool:
        few = kept.recordings + _MARGIN.recordings < self._quota.recordings
        return few and kept.size_bytes + _MARGIN.size_bytes < self._quota.size_bytes
