"""What the sweeper makes of each phase a crash can leave, on the real database and real files."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pymongo import AsyncMongoClient

from services.kernel.caller import limit_to
from services.perform.background import Background
from services.perform.blobs import StoredBlobs
from services.perform.domain import Charge, Performance, Phase, Quota, Recording, State, TimeLimits
from services.perform.errors import RecordingNotFound, StorageUnavailable
from services.perform.mongo import MongoPerformances
from services.perform.ports import Notes, Ports, Speech, Voices
from services.perform.quota import Room
from services.perform.recovering import Recovery
from services.perform.steps import Story
from services.perform.sweeper import Sweeper

NOW = datetime.now(UTC).replace(microsecond=0)
LIMITS = TimeLimits(timedelta(seconds=60), timedelta(seconds=15), timedelta(hours=24))


class Books:
    """Credits and voices, as far as the sweeper touches them."""

    def __init__(self) -> None:
        self.settled: list[UUID] = []
        self.released: list[UUID] = []
        self.away = False

    async def settle(self, user_id: str, performance_id: UUID, characters: int, model: str) -> Charge:
        if self.away:
            raise StorageUnavailable("Away.")
        self.settled.append(performance_id)
        return Charge(characters, characters, 4000)

    async def release(self, user_id: str, performance_id: UUID) -> None:
        self.released.append(performance_id)


class Swept:
    """A sweeper with everything it works on."""

    def __init__(self, journal: MongoPerformances, blobs: StoredBlobs) -> None:
        self.journal, self.blobs, self.books = journal, blobs, Books()
        self.now = NOW
        books = cast(Any, self.books)
        ports = Ports(
            books, cast(Voices, books), cast(Notes, None), cast(Speech, None), blobs, journal, journal
        )
        room = Room(journal, Quota(10, 1 << 20), lambda: self.now)
        story = Story(ports, room, LIMITS, lambda: self.now)
        self.background = Background(5, limit_to)
        self.recoveries = [
            Recovery(ports, story, self.background, LIMITS, lambda: self.now) for _ in range(3)
        ]
        self.sweepers = [Sweeper(journal, recovery, lambda: self.now) for recovery in self.recoveries]

    async def begin(self, request: str = "f") -> Performance:
        """One that began long ago, with its audio already stored."""
        long_ago = NOW - timedelta(hours=1)
        begun = Performance(uuid4(), "ada", "", request, long_ago, State.RUNNING, Phase.DOING, long_ago)
        await self.journal.claim(begun)
        await self.blobs.put("ada", begun.performance_id, b"audio")
        return begun

    async def keep(self, begun: Performance) -> None:
        await self.journal.keep(_recording(begun), NOW - timedelta(minutes=1))

    async def sweep(self) -> int:
        """By three replicas at once; how many performances they ended together."""
        return sum(await asyncio.gather(*(sweeper.sweep() for sweeper in self.sweepers)))


def _recording(begun: Performance) -> Recording:
    return Recording(
        recording_id=begun.performance_id,
        user_id=begun.user_id,
        title="New Recording",
        date="2026-03-01",
        created_at=NOW,
        duration_seconds=1.0,
        size_bytes=5,
        routine_type="cards",
        text="text",
        voice_source="local_clone",
        sample_hash="5a",
        leased_at=NOW,
        engine="tone",
        model="tone",
        waveform=(),
        filename="x.mp3",
    )


@pytest.fixture
async def swept(mongo_url: str, tmp_path: Path) -> AsyncIterator[Swept]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    )
    async with client:
        journal = MongoPerformances(client, f"perform-{uuid4().hex}")
        await journal.prepare()
        yield Swept(journal, StoredBlobs(tmp_path.as_uri()))


async def test_what_was_not_kept_is_undone_once_and_its_audio_removed(swept: Swept) -> None:
    begun = await swept.begin()
    assert await swept.sweep() == 1
    # Credits and voice are both given back.
    assert swept.books.released == [begun.performance_id] * 2
    assert not swept.books.settled
    with pytest.raises(RecordingNotFound):
        await swept.blobs.get("ada", begun.performance_id)
    ended = await swept.journal.find(begun.performance_id)
    assert ended is not None
    assert (ended.state, ended.phase) == (State.FAILED, Phase.DONE)
    assert await swept.sweep() == 0


async def test_what_was_kept_is_settled_once_and_stays(swept: Swept) -> None:
    begun = await swept.begin()
    await swept.keep(begun)
    assert await swept.sweep() == 1
    assert swept.books.settled == swept.books.released == [begun.performance_id]
    ended = await swept.journal.find(begun.performance_id)
    assert ended is not None
    assert (ended.state, ended.charge) == (State.SUCCEEDED, Charge(4, 4, 4000))
    assert await swept.blobs.get("ada", begun.performance_id) == b"audio"


async def test_what_cannot_be_settled_yet_is_tried_again_when_the_lease_is_over(swept: Swept) -> None:
    begun = await swept.begin()
    await swept.keep(begun)
    swept.books.away = True
    with pytest.raises(StorageUnavailable):
        await swept.sweepers[0].sweep()
    swept.books.away = False
    assert await swept.sweep() == 0
    swept.now += LIMITS.takeover
    assert await swept.sweep() == 1
    assert swept.books.settled == [begun.performance_id]


async def test_a_delete_that_was_cut_short_still_removes_the_audio(swept: Swept) -> None:
    begun = await swept.begin()
    await swept.keep(begun)
    await swept.journal.succeed(begun.performance_id, Charge(4, 4, 4000), NOW)
    await swept.journal.hide("ada", begun.performance_id, NOW)
    assert await swept.sweep() == 1
    with pytest.raises(RecordingNotFound):
        await swept.blobs.get("ada", begun.performance_id)


async def test_what_is_not_overdue_is_left_alone(swept: Swept) -> None:
    begun = await swept.begin()
    swept.now -= timedelta(hours=2)
    assert await swept.sweep() == 0
    assert not swept.books.released
    assert await swept.blobs.get("ada", begun.performance_id) == b"audio"


async def test_what_a_process_performs_itself_is_not_ended_by_it_though_its_clock_jumped_ahead(
    swept: Swept,
) -> None:
    begun = await swept.begin()
    with swept.recoveries[0].alive(begun.performance_id):
        assert await swept.sweepers[0].sweep() == 0
    assert await swept.sweepers[0].sweep() == 1


async def test_a_round_ends_all_that_crashes_left_before_some_of_what_is_deleted(swept: Swept) -> None:
    for number in range(40):
        each = await swept.begin(f"deleted {number}")
        await swept.keep(each)
        await swept.journal.succeed(each.performance_id, Charge(4, 4, 4000), NOW)
        await swept.journal.hide("ada", each.performance_id, NOW - timedelta(hours=2))
    left = {(await swept.begin(f"left {number}")).performance_id for number in range(40)}
    ended: list[UUID] = []
    remember(swept.journal, ended)
    assert await swept.sweepers[0].sweep() == 72
    assert set(ended[:40]) == left
    assert await swept.sweepers[0].sweep() == 8


def remember(journal: MongoPerformances, taken: list[UUID]) -> None:
    """Whom the sweeper takes over, in that order."""
    take_over = journal.take_over

    async def take(performance: Performance, until: datetime) -> bool:
        taken.append(performance.performance_id)
        return await take_over(performance, until)

    journal.take_over = take  # type: ignore[method-assign]


async def test_what_cannot_be_ended_fails_the_round_and_holds_nothing_else_up(swept: Swept) -> None:
    kept, begun = await swept.begin(), await swept.begin("another")
    await swept.keep(kept)
    swept.books.away = True
    with pytest.raises(StorageUnavailable):
        await swept.sweepers[0].sweep()
    ended = await swept.journal.find(begun.performance_id)
    assert ended is not None
    assert ended.phase is Phase.DONE
