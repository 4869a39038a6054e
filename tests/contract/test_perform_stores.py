"""What performing relies on: the journal in a real database, and audio in each kind of blob store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from services.kernel.ranges import Span
from services.perform.blobs import StoredBlobs
from services.perform.domain import Charge, Failure, Performance, Phase, Recording, State
from services.perform.errors import PerformanceInterrupted, RecordingNotFound, StorageUnavailable
from services.perform.filing import RecordingFilter, place
from services.perform.mongo import MongoPerformances
from services.perform.ports import Blobs

NOW = datetime.now(UTC).replace(microsecond=0)
WHY = Failure(503, "PERFORMANCE_INTERRUPTED", "It was interrupted.")
CHARGE = Charge(96, 192, 4000)


@pytest.fixture(scope="module")
async def journal(mongo_url: str) -> AsyncIterator[MongoPerformances]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    )
    async with client:
        journal = MongoPerformances(client, f"perform-{uuid4().hex}")
        await journal.prepare()
        yield journal


def begun(**changes: Any) -> Performance:
    fresh = Performance(
        performance_id=uuid4(),
        user_id=f"user-{uuid4()}",
        key="",
        fingerprint="f",
        created_at=NOW,
        state=State.RUNNING,
        phase=Phase.DOING,
        due_at=NOW + timedelta(minutes=1),
    )
    return replace(fresh, **changes)


def recording(performance: Performance, created_at: datetime = NOW) -> Recording:
    return Recording(
        recording_id=performance.performance_id,
        user_id=performance.user_id,
        title="New Recording",
        date="2026-03-01",
        created_at=created_at,
        duration_seconds=7.5,
        size_bytes=3,
        routine_type="cards",
        text="...",
        voice_source="local_clone",
        sample_hash="5a",
        leased_at=NOW,
        engine="tone",
        model="tone",
        waveform=tuple(range(64)),
        filename="x.mp3",
    )


async def kept(journal: MongoPerformances, performance: Performance, created_at: datetime = NOW) -> Recording:
    await journal.claim(performance)
    made = recording(performance, created_at)
    await journal.keep(made, NOW + timedelta(minutes=1))
    return made


async def test_a_performance_reads_back_as_it_was_written(journal: MongoPerformances) -> None:
    written = begun(key="k")
    assert await journal.claim(written) is None
    assert await journal.find(written.performance_id) == written


async def test_one_of_many_claims_of_a_key_wins_and_the_others_learn_which(
    journal: MongoPerformances,
) -> None:
    rivals = [begun(user_id="racer", key="k") for _ in range(16)]
    holders = await asyncio.gather(*(journal.claim(rival) for rival in rivals))
    [winner] = [rival for rival, holder in zip(rivals, holders, strict=True) if holder is None]
    assert {holder.performance_id for holder in holders if holder} == {winner.performance_id}


async def test_without_a_key_the_request_is_the_key_until_it_is_given_up(journal: MongoPerformances) -> None:
    owner = f"user-{uuid4()}"
    first = begun(user_id=owner)
    assert await journal.claim(first) is None
    assert await journal.claim(begun(user_id=owner, fingerprint="g")) is None
    assert await journal.claim(begun(user_id=f"user-{uuid4()}")) is None
    assert await journal.claim(begun(user_id=owner)) == first
    await journal.keep(recording(first), NOW)
    # It is heard, and not paid yet.
    await journal.free_key(first.performance_id)
    await journal.succeed(first.performance_id, CHARGE, NOW)
    holder = await journal.claim(begun(user_id=owner))
    assert holder is not None
    assert (holder.performance_id, holder.ended_at) == (first.performance_id, NOW)
    await journal.free_key(first.performance_id)
    second = begun(user_id=owner)
    assert await journal.claim(second) is None
    # Once more, when another one has the key.
    await journal.free_key(first.performance_id)
    assert await journal.claim(begun(user_id=owner)) == second


async def test_only_who_still_performs_says_so(journal: MongoPerformances) -> None:
    performance = begun()
    await journal.claim(performance)
    later = NOW + timedelta(minutes=5)
    assert await journal.renew(performance.performance_id, later)
    renewed = await journal.find(performance.performance_id)
    assert renewed is not None
    assert renewed.due_at == later
    assert await journal.take_over(renewed, later)
    assert not await journal.renew(performance.performance_id, later)


async def test_it_is_either_kept_or_undone_but_never_both(journal: MongoPerformances) -> None:
    for _ in range(10):
        performance = begun()
        await journal.claim(performance)
        undone, keeping = await asyncio.gather(
            journal.begin_undo(performance.performance_id),
            journal.keep(recording(performance), NOW),
            return_exceptions=True,
        )
        assert (undone is True) == isinstance(keeping, PerformanceInterrupted)
        assert (undone is False) == (keeping is None)


async def test_a_failure_is_remembered_and_frees_its_key(journal: MongoPerformances) -> None:
    performance = begun(key="k")
    await journal.claim(performance)
    assert await journal.begin_undo(performance.performance_id)
    await journal.fail(performance.performance_id, State.FAILED, WHY, NOW, NOW + timedelta(hours=24))
    ended = await journal.find(performance.performance_id)
    assert ended is not None
    assert (ended.state, ended.phase, ended.failure, ended.due_at) == (State.FAILED, Phase.DONE, WHY, None)
    assert await journal.claim(begun(user_id=performance.user_id, key="k")) is None


async def test_a_success_keeps_its_key_its_recording_and_its_charge(journal: MongoPerformances) -> None:
    performance = begun(key="k")
    made = await kept(journal, performance)
    await journal.succeed(performance.performance_id, CHARGE, NOW)
    ended = await journal.claim(begun(user_id=performance.user_id, key="k"))
    assert ended is not None
    assert (ended.state, ended.recording, ended.charge) == (State.SUCCEEDED, made, CHARGE)
    await journal.free_key(performance.performance_id)
    assert await journal.claim(begun(user_id=performance.user_id, key="k")) is None
    assert await journal.get(performance.user_id, performance.performance_id) == made


async def test_only_what_is_overdue_is_due_and_one_taker_has_it(journal: MongoPerformances) -> None:
    late, early = begun(due_at=NOW - timedelta(minutes=1)), begun()
    for performance in (late, early):
        await journal.claim(performance)
    mine = {late.user_id, early.user_id}
    assert [found for found in await journal.due(NOW, {Phase.DOING}, 1000) if found.user_id in mine] == [late]
    assert not [found for found in await journal.due(NOW, {Phase.PURGING}, 1000) if found.user_id in mine]
    until = NOW + timedelta(minutes=2)
    taken = await asyncio.gather(*(journal.take_over(late, until) for _ in range(8)))
    assert sum(taken) == 1
    with pytest.raises(PerformanceInterrupted):
        await journal.keep(recording(late), NOW)


async def test_pages_reach_back_beyond_the_usual_range_newest_first(journal: MongoPerformances) -> None:
    owner = f"user-{uuid4()}"
    ages = [400, 0, 40, 10, 0]
    made = [
        await kept(journal, begun(user_id=owner, fingerprint=str(number)), NOW - timedelta(days=age))
        for number, age in enumerate(ages)
    ]
    places = {place(each.created_at, each.recording_id): each for each in made}
    newest_first = [places[each] for each in sorted(places, reverse=True)]
    assert await journal.page(owner, RecordingFilter(), 10) == newest_first
    after_two = place(newest_first[1].created_at, newest_first[1].recording_id)
    assert await journal.page(owner, RecordingFilter(before=after_two), 2) == newest_first[2:4]


async def test_a_hidden_recording_is_gone_for_its_owner_and_due_until_its_audio_is(
    journal: MongoPerformances,
) -> None:
    performance = begun()
    await kept(journal, performance)
    await journal.succeed(performance.performance_id, CHARGE, NOW)
    with pytest.raises(RecordingNotFound):
        await journal.hide("thief", performance.performance_id, NOW)
    await journal.hide(performance.user_id, performance.performance_id, NOW - timedelta(minutes=2))
    with pytest.raises(RecordingNotFound):
        await journal.get(performance.user_id, performance.performance_id)
    assert await journal.page(performance.user_id, RecordingFilter(), 10) == []
    due = await journal.due(NOW, {Phase.PURGING}, 1000)
    assert performance.performance_id in {found.performance_id for found in due}
    await journal.forget(performance.performance_id, NOW + timedelta(hours=24))
    due = await journal.due(NOW, set(Phase), 1000)
    assert performance.performance_id not in {found.performance_id for found in due}


async def test_a_database_that_is_away_is_said_to_be_away() -> None:
    async with AsyncMongoClient[dict[str, Any]](
        "mongodb://127.0.0.1:1/", serverSelectionTimeoutMS=50
    ) as client:
        with pytest.raises(StorageUnavailable):
            await MongoPerformances(client, "perform").find(uuid4())


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> StoredBlobs:
    return StoredBlobs((tmp_path / "new" / "folder").as_uri() if request.param == "file" else "memory:///")


async def test_audio_is_read_back_whole_or_in_part_and_by_its_owner_only(blobs: Blobs) -> None:
    recording_id = uuid4()
    await blobs.put("../ada", recording_id, b"0123456789")
    assert await blobs.get("../ada", recording_id) == b"0123456789"
    assert await blobs.get("../ada", recording_id, Span(2, 5)) == b"234"
    with pytest.raises(RecordingNotFound):
        await blobs.get("bob", recording_id)


async def test_audio_has_a_size(blobs: Blobs) -> None:
    recording_id = uuid4()
    await blobs.put("ada", recording_id, bytearray(b"0123456789"))
    assert await blobs.size("ada", recording_id) == 10
    with pytest.raises(RecordingNotFound):
        await blobs.size("bob", recording_id)


async def test_an_empty_store_answers(blobs: StoredBlobs) -> None:
    await blobs.ping()


async def test_all_audio_is_found_by_its_age_and_removed(blobs: Blobs) -> None:
    stored = {("ada", uuid4()), ("../b n/", uuid4())}
    for owner, recording_id in stored:
        await blobs.put(owner, recording_id, b"x")
    now = datetime.now(UTC)
    assert [each async for part in blobs.older_than(now - timedelta(minutes=1)) for each in part] == []
    found = [each async for part in blobs.older_than(now + timedelta(minutes=1)) for each in part]
    assert {each.recording_id for each in found} == {recording_id for _, recording_id in stored}
    for _ in range(2):
        await blobs.remove(found)
    for owner, recording_id in stored:
        with pytest.raises(RecordingNotFound):
            await blobs.get(owner, recording_id)


async def test_audio_is_put_and_removed_as_often_as_one_likes(blobs: Blobs) -> None:
    recording_id = uuid4()
    await blobs.delete("ada", recording_id)
    for _ in range(2):
        await blobs.put("ada", recording_id, b"x")
    for _ in range(2):
        await blobs.delete("ada", recording_id)
    with pytest.raises(RecordingNotFound):
        await blobs.get("ada", recording_id)
