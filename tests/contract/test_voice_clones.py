"""All clones page by page, while users come and go."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.kernel.database import database_client
from services.voice import mongo
from services.voice.clones import Clones
from services.voice.domain import Clone, Voice

# Stored to the millisecond.
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def voices(mongo_url: str) -> AsyncIterator[mongo.MongoVoices]:
    async with database_client(mongo_url, connections=8, seconds=10) as client:
        found = mongo.MongoVoices(client[f"voice_{uuid4().hex[:12]}"]["voices"])
        await found.prepare()
        yield found


def clone(clone_id: str = "", *, pooled: bool = True, age: timedelta = timedelta(0)) -> Clone:
    clone_id = clone_id or str(uuid4())
    provider = "elevenlabs" if pooled else "local"
    return Clone(clone_id, provider, provider, clone_id, "provider_voice_id", pooled, None, NOW - age)


def newest_first(*clones: Clone) -> list[str]:
    return [
        each.clone_id for each in sorted(clones, key=lambda each: (each.made_at, each.clone_id), reverse=True)
    ]


async def having(voices: mongo.MongoVoices, *, of: Clone | None, standby: Clone | None = None) -> Voice:
    voice = Voice(f"u-{uuid4()}")
    made = replace(voice, revision=1, clone=of, standby=standby)
    assert await voices.replace(voice, made)
    return made


async def told(clones: Clones, size: int) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page, token = await clones.page(token, size)
        found += [each.clone.clone_id for each in page]
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 7, 60, 61, 100])
async def test_each_clone_is_told_once_and_the_newest_first(voices: mongo.MongoVoices, size: int) -> None:
    made = []
    for number in range(20):
        # From today to years ago, and always several of one moment.
        age = timedelta(days=(number // 2) ** 3)
        of, beside, alone = clone(age=age), clone(pooled=False, age=age), clone(pooled=False, age=age * 2)
        made += [of, beside, alone]
        await having(voices, of=of, standby=beside)
        # Half of those without a place were evicted, the others never had one.
        await having(voices, of=alone if number % 2 else None, standby=None if number % 2 else alone)
    assert await told(Clones(voices), size) == newest_first(*made)


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_clones_of_one_moment_are_told_by_their_ids(voices: mongo.MongoVoices, size: int) -> None:
    made = [clone(str(UUID(int=number))) for number in (0, 1, 2**127, 2**128 - 1)]
    for each in made:
        await having(voices, of=each)
    assert await told(Clones(voices), size) == newest_first(*made)


async def test_who_comes_or_goes_between_two_pages_moves_nobody_else(voices: mongo.MongoVoices) -> None:
    there = [await having(voices, of=clone(age=timedelta(hours=number))) for number in range(12)]
    clones = Clones(voices)
    order = [voice.clone.clone_id for voice in there if voice.clone]
    page, token = await clones.page("", 4)
    assert [each.clone.clone_id for each in page] == order[:4]
    # The very one that the next page begins after is gone, and others came before and behind it.
    assert await voices.replace(there[3], replace(there[3], clone=None))
    await having(voices, of=clone(age=timedelta(hours=-1)))
    late = await having(voices, of=clone(age=timedelta(days=900)))
    rest, end = await clones.page(token, 100)
    assert late.clone is not None
    assert [each.clone.clone_id for each in rest] == [*order[4:], late.clone.clone_id]
    assert end == ""


@pytest.mark.parametrize("size", [1, 2, 3, 6])
async def test_clones_that_have_the_ids_of_those_beside_them_are_told_once(
    voices: mongo.MongoVoices, size: int
) -> None:
    """An add whose answer was lost took effect, beside what was made instead."""
    twins = [clone(age=timedelta(days=number)) for number in range(3)]
    for twin in twins:
        beside = clone(twin.clone_id, pooled=False, age=timedelta(minutes=twins.index(twin)))
        voice = await having(voices, of=twin, standby=beside)
    other = clone(pooled=False, age=timedelta(days=40))
    await having(voices, of=clone(age=timedelta(days=50)), standby=other)
    clones = Clones(voices)
    found = await told(clones, size)
    assert found[:4] == newest_first(*twins, other)
    assert len(found) == 5
    last = await clones.find(twins[-1].clone_id)
    assert (last.user_id, last.clone) == (voice.user_id, twins[-1])


async def test_those_who_take_a_place_are_found_by_their_provider(voices: mongo.MongoVoices) -> None:
    held = [await having(voices, of=clone()) for _ in range(3)]
    await having(voices, of=clone(pooled=False))
    found = await voices.held_at("elevenlabs")
    assert {voice.user_id for voice in found} == {voice.user_id for voice in held}
    assert await voices.held_at("another") == []
    assert {voice.user_id for voice in await voices.of([held[0].user_id, "nobody"])} == {held[0].user_id}
    assert await voices.of([]) == []
