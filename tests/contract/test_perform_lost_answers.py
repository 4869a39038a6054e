"""Performing when the database does what it was asked, and the answer to that is lost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from services.kernel.caller import limit_to
from services.kernel.database import database_client
from services.perform.background import Background
from services.perform.blobs import StoredBlobs
from services.perform.claiming import Request
from services.perform.domain import (
    AudioSummary,
    Charge,
    LeasedVoice,
    Note,
    Order,
    Override,
    Performance,
    Preferences,
    Quota,
    Recording,
    State,
    TimeLimits,
)
from services.perform.errors import StillPerforming, StorageUnavailable
from services.perform.mongo import MongoPerformances
from services.perform.performing import Performed, Performing
from services.perform.places import Places
from services.perform.ports import Ports
from services.perform.quota import Room
from services.perform.recovering import Recovery
from services.perform.steps import Story
from services.perform.sweeper import Sweeper

LIMITS = TimeLimits(timedelta(seconds=60), timedelta(seconds=5), timedelta(hours=24))
TEXT = "Woke up early and the house was quiet."
ORDER = Order("cards", "seven of hearts", Override())


def now() -> datetime:
    """As exactly as the database writes it down."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Peers:
    """The four services, in perform's own words."""

    streams = False

    def __init__(self) -> None:
        self.charged: list[UUID] = []
        self.given_back: list[UUID] = []
        self.speaking, self.held = asyncio.Event(), asyncio.Event()
        self.held.set()

    async def reserve(self, *_: Any) -> Preferences:
        return Preferences("en", 50, 75, False, 30, "", "", False)

    async def settle(self, user_id: str, performance_id: UUID, characters: int, model: str) -> Charge:
        self.charged.append(performance_id)
        return Charge(characters, characters, 4000)

    async def release(self, user_id: str, performance_id: UUID) -> None:
        self.given_back.append(performance_id)

    async def begin_lease(self, *_: Any) -> LeasedVoice:
        return LeasedVoice("tone", "v1", b"", "local_clone", "5a")

    async def compose(self, *_: Any) -> Note:
        return Note(TEXT, "pen")

    async def speak(self, *_: Any) -> AsyncGenerator[bytes | AudioSummary, None]:
        self.speaking.set()
        await self.held.wait()
        yield b"sound"
        yield AudioSummary(1.0, (0,) * 64)


class Forgetful(MongoPerformances):
    """Loses the answer to what was done, when told to."""

    lose_keep = False
    # Nor can it be asked then what it did.
    away = False
    # So many say in vain that they are alive.
    lost_renewals = 0
    # Somebody waits for the answer to a claim that never comes.
    claimed: asyncio.Event | None = None

    async def keep(self, recording: Recording, due_at: datetime) -> None:
        await super().keep(recording, due_at)
        if self.lose_keep:
            self._refuse()

    async def begin_undo(self, performance_id: UUID) -> bool:
        if self.away:
            self._refuse()
        return await super().begin_undo(performance_id)

    async def renew(self, performance_id: UUID, due_at: datetime) -> bool:
        if self.lost_renewals:
            self.lost_renewals -= 1
            self._refuse()
        return await super().renew(performance_id, due_at)

    def _refuse(self) -> NoReturn:
        raise StorageUnavailable("The database cannot be reached right now.")

    async def claim(self, performance: Performance) -> Performance | None:
        held = await super().claim(performance)
        if held is None and self.claimed is not None and not self.claimed.is_set():
            self.claimed.set()
            await asyncio.Event().wait()
        return held


class House:
    def __init__(self, journal: Forgetful, blobs: StoredBlobs, background: Background) -> None:
        self.journal, self.peers, self.user_id = journal, Peers(), f"user-{uuid4()}"
        self.ahead = timedelta()
        peers = cast(Any, self.peers)
        ports = Ports(peers, peers, peers, peers, blobs, journal, journal)
        story = Story(ports, Room(journal, Quota(10, 1 << 20), now), LIMITS, now)
        ours, others = (Recovery(ports, story, background, LIMITS, self.now) for _ in range(2))
        places = Places("memos", 4, 4)
        self.performing = Performing(ports, story, background, LIMITS, self.now, recovery=ours, places=places)
        self.sweeper, self.another_sweeper = (Sweeper(journal, each, self.now) for each in (ours, others))

    def now(self) -> datetime:
        return now() + self.ahead

    def request(self) -> Request:
        return Request(uuid4(), self.user_id, ORDER, "", 10.0)

    async def perform(self) -> Performed:
        return await self.performing.perform(self.request())


@pytest.fixture
async def house(mongo_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with database_client(mongo_url, 8, 5) as client, Background(5, limit_to) as background:
        journal = Forgetful(client, f"perform-{uuid4().hex}")
        await journal.prepare()
        yield House(journal, StoredBlobs(tmp_path.as_uri()), background)


async def test_a_memo_that_was_kept_is_given_and_charged_though_the_answer_to_keeping_it_was_lost(
    house: House,
) -> None:
    house.journal.lose_keep = True
    done = await house.perform()
    assert (done.audio, done.recording.text) == (b"sound", TEXT)
    found = await house.journal.find(done.recording.recording_id)
    assert found is not None
    assert (found.state, found.charge) == (State.SUCCEEDED, done.charge)
    assert house.peers.charged == [done.recording.recording_id]


async def test_a_stream_is_whole_as_well(house: House) -> None:
    house.journal.lose_keep = True
    async with aclosing(house.performing.listen(house.request())) as parts:
        heading, *sound = [part async for part in parts]
    assert (heading.text, b"".join(cast(list[bytes], sound))) == (TEXT, b"sound")  # type: ignore[union-attr]
    assert len(house.peers.charged) == 1


async def test_a_memo_that_may_be_kept_is_not_told_as_failed(house: House) -> None:
    before = unknown()
    house.journal.lose_keep = house.journal.away = True
    with pytest.raises(StillPerforming) as told:
        await house.perform()
    house.journal.lose_keep = house.journal.away = False
    house.ahead = LIMITS.takeover
    done = await house.perform()
    assert told.value.headers == (("performance-id", str(done.recording.recording_id)),)
    assert (done.audio, house.peers.charged) == (b"sound", [done.recording.recording_id])
    assert unknown() == before + 1


def unknown() -> float:
    told = {"state": "unknown", "reason": StorageUnavailable.reason}
    return REGISTRY.get_sample_value("perform_outcomes_total", told) or 0.0


async def test_an_answer_that_never_left_us_is_given_to_who_asks_the_same(house: House) -> None:
    """As when the process dies, or is cut off, between the outcome and the answer."""
    first = await house.perform()
    again = await house.perform()
    assert again == first
    assert house.peers.charged == [first.recording.recording_id]
    house.performing.delivered(house.request(), first.recording.recording_id)
    another = await house.perform()
    assert house.peers.charged == [first.recording.recording_id, another.recording.recording_id]


async def test_a_stream_that_never_ended_for_its_listener_is_given_again_as_well(house: House) -> None:
    heard = []
    for _ in range(2):
        async with aclosing(house.performing.listen(house.request())) as parts:
            heard.append([part async for part in parts])
    assert len(house.peers.charged) == 1
    assert heard[0][1:] == heard[1][1:] == [b"sound"]


async def test_what_is_under_way_is_not_swept_by_its_own_process_when_the_clock_jumps_ahead(
    house: House,
) -> None:
    house.peers.held.clear()
    performing = asyncio.create_task(house.perform())
    await house.peers.speaking.wait()
    house.ahead = timedelta(hours=1)
    assert await house.sweeper.sweep() == 0
    house.peers.held.set()
    assert (await performing).audio == b"sound"


async def test_who_could_not_say_that_they_are_alive_say_so_again_in_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.journal.lost_renewals = 2
    house.peers.held.clear()
    performing = asyncio.create_task(house.perform())
    await house.peers.speaking.wait()
    [begun] = await house.journal.of_user(house.user_id, 1)
    assert begun.due_at is not None
    await asyncio.sleep((begun.due_at - house.now()).total_seconds())
    assert await house.another_sweeper.sweep() == 0
    house.peers.held.set()
    assert (await performing).audio == b"sound"


async def test_who_asks_again_performs_when_the_first_one_left_while_it_was_written_down(
    house: House,
) -> None:
    house.journal.claimed = asyncio.Event()
    leaving = asyncio.create_task(house.perform())
    await house.journal.claimed.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    done = await house.perform()
    assert done.recording.text == TEXT
    assert house.peers.charged == [done.recording.recording_id]
