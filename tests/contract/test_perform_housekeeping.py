"""Audio nobody knows of, room for recordings, and what is deleted: on the real database and real files."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pymongo import AsyncMongoClient

from services.kernel.caller import limit_to
from services.perform.background import Background
from services.perform.blobs import StoredBlobs
from services.perform.domain import Charge, Failure, Performance, Phase, Quota, State, TimeLimits, Usage
from services.perform.errors import RecordingNotFound, RecordingsFull
from services.perform.mongo import MongoPerformances
from services.perform.orphans import OrphanRules, Orphans
from services.perform.ports import Ports
from services.perform.quota import Room
from services.perform.recordings import Archive
from services.perform.recovering import Recovery
from services.perform.speech import KeyClaim, Spoken
from services.perform.speech_keys import MongoSpeechKeys
from services.perform.steps import Story
from services.perform.sweeper import Sweeper
from tests.contract.test_perform_retention import recording

LIMITS = TimeLimits(timedelta(seconds=60), timedelta(seconds=10), timedelta(hours=24))
SOFT = replace(LIMITS, deleted=timedelta(days=1))


@dataclass
class House:
    journal: MongoPerformances
    blobs: StoredBlobs
    keys: MongoSpeechKeys
    # The audio's age is the file system's word, so it is the clock that moves.
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def time(self) -> datetime:
        return self.now

    @property
    def ports(self) -> Ports:
        nobody = cast(Any, None)
        return Ports(nobody, nobody, nobody, nobody, self.blobs, self.journal, self.journal)

    def orphans(self) -> Orphans:
        rules = OrphanRules(timedelta(hours=1), timedelta(hours=6), self.time)
        return Orphans(self.blobs, (self.journal, self.keys), self.journal, rules)

    def sweeper(self) -> Sweeper:
        room = Room(self.journal, Quota(10, 1 << 20), self.time)
        story = Story(self.ports, room, SOFT, self.time)
        recovery = Recovery(self.ports, story, Background(5, limit_to), SOFT, self.time)
        return Sweeper(self.journal, recovery, self.time)

    async def begun(self, user_id: str) -> UUID:
        made = uuid4()
        await self.journal.claim(
            Performance(made, user_id, "", str(made), self.now, State.RUNNING, Phase.DOING, self.now)
        )
        await self.blobs.put(user_id, made, b"audio")
        return made

    async def recorded(self, user_id: str) -> UUID:
        made = await self.begun(user_id)
        await self.journal.keep(recording(made, user_id, self.now), self.now)
        await self.journal.succeed(made, Charge(4, 4, 4000), self.now)
        return made

    async def has_audio(self, user_id: str, recording_id: UUID) -> bool:
        try:
            await self.blobs.get(user_id, recording_id)
        except RecordingNotFound:
            return False
        return True


@pytest.fixture
async def house(mongo_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncMongoClient[dict[str, Any]](
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    ) as client:
        journal = MongoPerformances(client, f"perform-{uuid4().hex}")
        await journal.prepare()
        keys = MongoSpeechKeys(client, f"perform-{uuid4().hex}")
        yield House(journal, StoredBlobs(tmp_path.as_uri()), keys)


async def test_only_audio_that_no_performance_knows_of_goes_and_only_when_it_is_old(
    house: House, tmp_path: Path
) -> None:
    kept, begun = await house.recorded("ada"), await house.begun("ada")
    lost = [("ada", uuid4()), ("../b n/", uuid4()), ("c", uuid4())]
    for user_id, recording_id in lost:
        await house.blobs.put(user_id, recording_id, b"audio")
    foreign = tmp_path / "recordings" / "ada" / "notes.txt"
    foreign.write_text("somebody put this here")
    assert await house.orphans().remove() == 0
    house.now += timedelta(hours=2)
    assert await house.orphans().remove() == 3
    assert not any([await house.has_audio(*each) for each in lost])
    assert await house.has_audio("ada", kept)
    assert await house.has_audio("ada", begun)
    assert foreign.exists()


async def test_audio_of_a_failure_goes_and_of_a_deleted_recording_stays_for_its_time(house: House) -> None:
    failed, deleted = await house.begun("ada"), await house.recorded("ada")
    assert await house.journal.begin_undo(failed)
    failure = Failure(503, "PERFORMANCE_INTERRUPTED", "It was interrupted.")
    await house.journal.fail(failed, State.FAILED, failure, house.now, house.now + timedelta(days=1))
    await Archive(house.ports, SOFT, house.time).delete("ada", str(deleted))
    house.now += timedelta(hours=2)
    assert await house.orphans().remove() == 1
    assert await house.has_audio("ada", deleted)


async def test_what_was_spoken_under_a_key_stays_as_long_as_the_key(house: House) -> None:
    claim, until = KeyClaim(uuid4(), "ada", "k", "what was asked"), house.now + timedelta(days=1)
    assert await house.keys.claim(claim, house.now, until) is None
    await house.blobs.put("ada", claim.speech_id, b"audio")
    assert await house.keys.spend(claim, Spoken("local_clone", 40), until)
    house.now += timedelta(hours=2)
    assert await house.orphans().remove() == 0
    await house.keys.free(claim)
    assert await house.orphans().remove() == 1


async def test_one_process_does_what_is_done_for_all(house: House) -> None:
    later = house.now + timedelta(hours=6)
    turns = await asyncio.gather(*(house.journal.take_turn("orphans", house.now, later) for _ in range(6)))
    assert sum(turns) == 1
    assert not await house.journal.take_turn("orphans", later - timedelta(seconds=1), later)
    assert await house.journal.take_turn("orphans", later, later + timedelta(hours=6))


async def test_a_deleted_recording_is_gone_at_once_and_its_audio_a_day_later(house: House) -> None:
    made = await house.recorded("ada")
    await Archive(house.ports, SOFT, house.time).delete("ada", str(made))
    with pytest.raises(RecordingNotFound):
        await house.journal.get("ada", made)
    assert await house.sweeper().sweep() == 0
    assert await house.has_audio("ada", made)
    house.now += timedelta(days=1)
    assert await house.sweeper().sweep() == 1
    assert not await house.has_audio("ada", made)
    left = await house.journal.find(made)
    assert left is not None
    assert (left.recording, left.phase) == (None, Phase.DONE)


async def test_what_a_user_has_is_counted_without_what_was_deleted(house: House) -> None:
    assert await house.journal.kept("ada") == Usage(0, 0)
    mine = [await house.recorded("ada") for _ in range(3)]
    await house.recorded("ben")
    await house.begun("ada")
    assert await house.journal.kept("ada") == Usage(3, 15)
    await Archive(house.ports, SOFT, house.time).delete("ada", str(mine[0]))
    assert await house.journal.kept("ada") == Usage(2, 10)


@pytest.mark.parametrize("quota", [Quota(2, 1 << 20), Quota(100, 10)], ids=["recordings", "bytes"])
async def test_there_is_room_until_the_limit_and_again_after_a_delete(house: House, quota: Quota) -> None:
    room = Room(house.journal, quota, house.time)
    await house.recorded("ada")
    await room.check("ada")
    last = await house.recorded("ada")
    with pytest.raises(RecordingsFull):
        await room.check("ada")
    await room.check("ben")
    await Archive(house.ports, SOFT, house.time).delete("ada", str(last))
    await room.check("ada")


class Counter:
    """Says that nobody has anything, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def kept(self, user_id: str) -> Usage:
        self.asked += 1
        return Usage(0, 0)


@pytest.mark.parametrize(("quota", "asked"), [(Quota(101, 1 << 30), 1), (Quota(100, 1 << 30), 2)])
async def test_far_below_the_limit_a_count_is_believed_for_a_minute(
    house: House, quota: Quota, asked: int
) -> None:
    counter = Counter()
    room = Room(cast(Any, counter), quota, house.time)
    for _ in range(2):
        await room.check("ada")
    assert counter.asked == asked
    house.now += timedelta(minutes=1)
    await room.check("ada")
    assert counter.asked == asked + 1
