"""Pages of recordings, read while others are made and deleted: each is seen once, and none that was there
all the time is missed."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient

from services.perform.domain import Charge, Performance, Phase, Recording, State
from services.perform.filing import RecordingFilter, place, place_in_token, wanted
from services.perform.mongo import MongoPerformances
from services.perform.recordings import cut
from tests.contract.test_perform_retention import recording

NOW = datetime.now(UTC).replace(microsecond=0)
# Some at the same moment, some beyond the usual range of a query.
AGES = st.sampled_from(
    [timedelta(), timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=90)]
)


@dataclass
class Shelf:
    """One user's recordings."""

    journal: MongoPerformances
    user_id: str = field(default_factory=lambda: f"user-{uuid4()}")

    async def put(self, age: timedelta) -> UUID:
        made, at = uuid4(), NOW - age
        await self.journal.claim(
            Performance(made, self.user_id, "", str(made), at, State.RUNNING, Phase.DOING, at)
        )
        await self.journal.keep(recording(made, self.user_id, at), at)
        await self.journal.succeed(made, Charge(4, 4, 4000), at)
        return made

    async def page(
        self, token: str, size: int, asked: RecordingFilter | None = None
    ) -> tuple[list[Recording], str]:
        found = await self.journal.page(self.user_id, asked or wanted("", "", "", token), size + 1)
        page, following = cut(found, size)
        return list(page), following


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def journal(mongo_url: str, loop: asyncio.Runner) -> Iterator[MongoPerformances]:
    async def opened() -> tuple[AsyncMongoClient[dict[str, Any]], MongoPerformances]:
        client = AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True, uuidRepresentation="standard")
        found = MongoPerformances(client, f"perform-{uuid4().hex}")
        await found.prepare()
        return client, found

    client, found = loop.run(opened())
    yield found
    loop.run(client.close())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=st.lists(AGES, min_size=1, max_size=7),
    size=st.integers(1, 3),
    meanwhile=st.lists(st.one_of(AGES, st.integers(0, 6)), max_size=4),
)
def test_pages_are_stable_under_inserts_and_deletes(
    loop: asyncio.Runner,
    journal: MongoPerformances,
    ages: list[timedelta],
    size: int,
    meanwhile: list[timedelta | int],
) -> None:
    loop.run(_pages_are_stable(Shelf(journal), ages, size, meanwhile))


async def _pages_are_stable(
    shelf: Shelf, ages: list[timedelta], size: int, meanwhile: list[timedelta | int]
) -> None:
    """Between two pages something happens: a recording of some age appears, or one of the first goes."""
    there = [await shelf.put(age) for age in ages]
    stayed, seen, token = set(there), [], ""
    while True:
        page, token = await shelf.page(token, size)
        seen += page
        if not token:
            break
        event = meanwhile.pop() if meanwhile else None
        if isinstance(event, timedelta):
            await shelf.put(event)
        elif event is not None and there[event % len(there)] in stayed:
            gone = there[event % len(there)]
            await shelf.journal.hide(shelf.user_id, gone, NOW)
            stayed.discard(gone)
    places = [place(each.created_at, each.recording_id) for each in seen]
    assert places == sorted(set(places), reverse=True)
    assert stayed <= {each.recording_id for each in seen}


def test_a_list_begins_and_ends_where_it_is_told(loop: asyncio.Runner, journal: MongoPerformances) -> None:
    async def narrowed() -> None:
        shelf = Shelf(journal)
        old, middle, new = [await shelf.put(timedelta(days=days)) for days in (90, 40, 1)]
        moments = [(NOW - timedelta(days=days)).isoformat() for days in (91, 40, 1)]
        for first, before, expected in (
            (moments[0], moments[1], [old]),
            (moments[1], "", [new, middle]),
            ("", moments[2], [middle, old]),
            (moments[1], moments[1], []),
            (moments[2], moments[0], []),
        ):
            page, _ = await shelf.page("", 10, wanted(first, before, "", ""))
            assert [each.recording_id for each in page] == expected
        page, token = await shelf.page("", 1, wanted(moments[1], "", "local_clone", ""))
        assert place_in_token(token).endswith(new.hex)
        rest, token = await shelf.page("", 1, wanted(moments[1], "", "local_clone", token))
        assert [each.recording_id for each in (*page, *rest)] == [new, middle]
        assert token == ""
        assert (await shelf.page("", 5, wanted("", "", "provider_voice_id", "")))[0] == []

    loop.run(narrowed())
