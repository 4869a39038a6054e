"""Recordings are removed when they are old, on the real database and real files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pymongo import AsyncMongoClient

from services.perform.blobs import StoredBlobs
from services.perform.domain import Charge, Performance, Phase, Recording, State, TimeLimits
from services.perform.errors import RecordingNotFound
from services.perform.mongo import MongoPerformances
from services.perform.ports import Ports
from services.perform.recordings import Archive

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
KEPT_FOR_EVER = TimeLimits(timedelta(seconds=60), timedelta(seconds=15), timedelta(hours=24))
KEPT_30_DAYS = replace(KEPT_FOR_EVER, recording=timedelta(days=30))


@dataclass
class Kept:
    journal: MongoPerformances
    blobs: StoredBlobs

    async def retire(self, limits: TimeLimits = KEPT_30_DAYS) -> int:
        nobody = cast(Any, None)
        ports = Ports(
            nobody,
            nobody,
            nobody,
            nobody,
            blobs=self.blobs,
            performances=self.journal,
            recordings=self.journal,
        )
        return await Archive(ports, limits, lambda: NOW).retire()

    async def recorded(self, user_id: str, days_ago: float, *, settled: bool = True) -> UUID:
        made, at = uuid4(), NOW - timedelta(days=days_ago)
        await self.journal.claim(
            Performance(made, user_id, "", str(made), at, State.RUNNING, Phase.DOING, at)
        )
        await self.blobs.put(user_id, made, b"audio")
        await self.journal.keep(recording(made, user_id, at), at)
        if settled:
            await self.journal.succeed(made, Charge(4, 4, 4000), NOW)
        return made

    async def is_there(self, user_id: str, recording_id: UUID) -> bool:
        try:
            await self.blobs.get(user_id, recording_id)
            await self.journal.get(user_id, recording_id)
        except RecordingNotFound:
            return False
        return True


def recording(made: UUID, user_id: str, at: datetime) -> Recording:
    return Recording(
        recording_id=made,
        user_id=user_id,
        title="New Recording",
        # What the memo claims to be from says nothing about its age.
        date="2019-01-01",
        created_at=at,
        duration_seconds=1.0,
        size_bytes=5,
        routine_type="cards",
        text="text",
        voice_source="local_clone",
        sample_hash="5a",
        leased_at=at,
        engine="tone",
        model="tone",
        waveform=(),
        filename="x.mp3",
    )


@pytest.fixture
async def kept(mongo_url: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with AsyncMongoClient[dict[str, Any]](
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    ) as client:
        journal = MongoPerformances(client, f"perform-{uuid4().hex}")
        await journal.prepare()
        yield Kept(journal, StoredBlobs(tmp_path.as_uri()))


async def test_recordings_of_all_users_go_when_they_are_old_and_not_before(kept: Kept) -> None:
    old = [(user, await kept.recorded(user, 30.01)) for user in ("ada", "ben")]
    young = [(user, await kept.recorded(user, 29.99)) for user in ("ada", "cleo")]
    assert await kept.retire() == 2
    assert [await kept.is_there(*each) for each in (*old, *young)] == [False, False, True, True]
    assert await kept.retire() == 0


async def test_recordings_are_kept_for_ever_unless_told_otherwise(kept: Kept) -> None:
    made = await kept.recorded("ada", 4000)
    assert await kept.retire(KEPT_FOR_EVER) == 0
    assert await kept.is_there("ada", made)


async def test_an_old_recording_that_is_not_paid_yet_waits(kept: Kept) -> None:
    made = await kept.recorded("ada", 31, settled=False)
    assert await kept.retire() == 0
    await kept.journal.succeed(made, Charge(4, 4, 4000), NOW)
    assert await kept.retire() == 1
