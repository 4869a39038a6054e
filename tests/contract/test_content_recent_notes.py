"""What every memory of recent notes promises."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from dev.ports import free_port
from services.content.domain import RecentNotesUnavailable
from services.content.ports import RecentNotes
from services.content.redis import KEPT, KEPT_SECONDS, ValkeyRecentNotes
from services.kernel.cache import cache_client
from tests.contract.losing_way import losing_way

DAY = 86_400


class MemoryRecentNotes:
    """Stands in for Valkey where a test is about something else."""

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = defaultdict(list)
        self._erased = set[str]()

    async def of(self, user_id: str) -> frozenset[str]:
        return frozenset(self._kept[user_id])

    async def claim(self, user_id: str, fingerprint: str) -> bool:
        if user_id in self._erased:
            return True
        if fingerprint in self._kept[user_id]:
            return False
        self._kept[user_id] = [fingerprint, *self._kept[user_id]][:KEPT]
        return True

    async def forget(self, user_id: str) -> int:
        self._erased.add(user_id)
        return len(self._kept.pop(user_id, []))


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "valkey"])
async def recent(request: pytest.FixtureRequest, valkey_url: str) -> AsyncIterator[RecentNotes]:
    if request.param == "memory":
        yield MemoryRecentNotes()
        return
    async with cache_client(valkey_url, seconds=5) as valkey:
        yield ValkeyRecentNotes(valkey)


async def test_nothing_is_remembered_of_a_new_user(recent: RecentNotes) -> None:
    assert await recent.of(str(uuid4())) == frozenset()


async def test_each_user_has_their_own_notes(recent: RecentNotes) -> None:
    one, other = str(uuid4()), str(uuid4())
    for user, note in ((one, "a"), (one, "b"), (other, "c")):
        assert await recent.claim(user, note)
    assert await recent.of(one) == {"a", "b"}
    assert await recent.of(other) == {"c"}


async def test_a_note_can_be_claimed_once(recent: RecentNotes) -> None:
    user, other = str(uuid4()), str(uuid4())
    claimed = await asyncio.gather(*(recent.claim(user, "a") for _ in range(20)))
    assert sorted(claimed) == [False] * 19 + [True]
    assert await recent.claim(other, "a")


async def test_a_claim_whose_answer_is_lost_is_not_taken_for_somebody_elses(valkey_url: str) -> None:
    user = str(uuid4())
    async with losing_way(valkey_url) as way, cache_client(way.url, seconds=5) as valkey:
        recent = ValkeyRecentNotes(valkey)
        assert await recent.claim(user, "a")
        way.loses_the_next = True
        assert await recent.claim(user, "b")
        assert way.lost == 1
        assert not await recent.claim(user, "b")


async def test_only_the_latest_notes_are_kept(recent: RecentNotes) -> None:
    user = str(uuid4())
    for note in range(KEPT + 3):
        await recent.claim(user, str(note))
    assert await recent.of(user) == {str(note) for note in range(3, KEPT + 3)}


async def test_a_note_may_be_given_again_after_thirty_days_and_not_before(valkey_url: str) -> None:
    user, clock = str(uuid4()), Clock()
    async with cache_client(valkey_url, seconds=5) as valkey:
        recent = ValkeyRecentNotes(valkey, clock)
        assert await recent.claim(user, "a")
        clock.now += 29 * DAY
        assert await recent.of(user) == {"a"}
        assert not await recent.claim(user, "a")
        assert await recent.claim(user, "b")
        clock.now += 2 * DAY
        assert await recent.of(user) == {"b"}
        assert await recent.claim(user, "a")


async def test_nothing_is_left_of_a_user_who_stays_away_for_thirty_days(valkey_url: str) -> None:
    user = str(uuid4())
    async with cache_client(valkey_url, seconds=5) as valkey:
        await ValkeyRecentNotes(valkey).claim(user, "a")
        assert 29 * DAY < await valkey.ttl(f"content:notes:{user}") <= KEPT_SECONDS == 30 * DAY


async def test_a_cache_that_is_down_is_said_to_be_so() -> None:
    async with cache_client(f"redis://127.0.0.1:{free_port()}", seconds=1) as valkey:
        recent = ValkeyRecentNotes(valkey)
        with pytest.raises(RecentNotesUnavailable):
            await recent.of("u")
        with pytest.raises(RecentNotesUnavailable):
            await recent.claim("u", "a")
        with pytest.raises(RecentNotesUnavailable):
            await recent.forget("u")


async def test_a_cache_that_is_silent_is_not_waited_for_again_and_again() -> None:
    calls, clock = list[asyncio.StreamWriter](), Clock()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with cache_client(f"redis://127.0.0.1:{port}", seconds=0.05) as valkey:
            recent = ValkeyRecentNotes(valkey, clock)
            heard = list[int]()
            for pause in (0, 0, 0, 14, 2, 0):
                clock.now += pause
                with pytest.raises(RecentNotesUnavailable):
                    await recent.claim("u", "a")
                heard.append(len(calls))
    assert 0 < heard[0] < heard[1] == heard[2] == heard[3] < heard[4] == heard[5]


async def test_forgetting_a_user_leaves_the_others(recent: RecentNotes) -> None:
    user, other = str(uuid4()), str(uuid4())
    for each in (user, user, other):
        await recent.claim(each, f"a note {uuid4()}")
    assert [await recent.forget(user), await recent.forget(user)] == [2, 0]
    assert await recent.of(user) == frozenset()
    assert len(await recent.of(other)) == 1


async def test_a_note_that_is_finished_after_an_erasure_leaves_no_trace(recent: RecentNotes) -> None:
    user = str(uuid4())
    await recent.forget(user)
    assert [await recent.claim(user, "a") for _ in range(2)] == [True, True]
    assert await recent.of(user) == frozenset()


async def test_an_erasure_is_known_for_longer_than_any_call_takes(valkey_url: str) -> None:
    user = str(uuid4())
    async with cache_client(valkey_url, seconds=5) as valkey:
        await ValkeyRecentNotes(valkey).forget(user)
        assert 30 < await valkey.ttl(f"content:erased:{user}") <= 60
