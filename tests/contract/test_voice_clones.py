"""All clones page by page, while users come and go."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from services.kernel.database import database_client
from services.voice import mongo
from services.voice.clones import Clones
from services.voice.domain import Clone, Voice

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
async def voices(mongo_url: str) -> AsyncIterator[mongo.MongoVoices]:
    async with database_client(mongo_url, connections=8, seconds=10) as client:
        found = mongo.MongoVoices(client[f"voice_{uuid4().hex[:12]}"]["voices"], connections=8)
        await found.prepare()
        yield found


def clone(clone_id: str = "", *, pooled: bool = True) -> Clone:
    clone_id = clone_id or str(uuid4())
    provider = "elevenlabs" if pooled else "local"
    return Clone(clone_id, provider, provider, clone_id, "provider_voice_id", pooled, None, NOW)


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
async def test_each_clone_is_told_once_and_in_order(voices: mongo.MongoVoices, size: int) -> None:
    made = []
    for number in range(20):
        of, beside, alone = clone(), clone(pooled=False), clone(pooled=False)
        made += [of.clone_id, beside.clone_id, alone.clone_id]
        await having(voices, of=of, standby=beside)
        # Half of those without a place were evicted, the others never had one.
        await having(voices, of=alone if number % 2 else None, standby=None if number % 2 else alone)
    assert await told(Clones(voices), size) == sorted(made)


@pytest.mark.parametrize("number", [0, 1, 2**127, 2**128 - 1])
async def test_ids_at_either_end_are_found(voices: mongo.MongoVoices, number: int) -> None:
    await having(voices, of=clone(str(UUID(int=number))))
    await having(voices, of=clone(str(UUID(int=number ^ 1))))
    assert await told(Clones(voices), 1) == sorted([str(UUID(int=number)), str(UUID(int=number ^ 1))])


async def test_who_comes_or_goes_between_two_pages_moves_nobody_else(voices: mongo.MongoVoices) -> None:
    there = [await having(voices, of=clone()) for _ in range(12)]
    clones = Clones(voices)
    order = sorted(voice.clone.clone_id for voice in there if voice.clone)
    page, token = await clones.page("", 4)
    assert [each.clone.clone_id for each in page] == order[:4]
    # The very one that the next page begins after is gone, and others came before and behind it.
    last = next(voice for voice in there if voice.clone and voice.clone.clone_id == token)
    assert await voices.replace(last, replace(last, clone=None))
    await having(voices, of=clone(str(UUID(int=0))))
    late = await having(voices, of=clone(str(UUID(int=2**128 - 1))))
    rest, end = await clones.page(token, 100)
    assert late.clone is not None
    assert [each.clone.clone_id for each in rest] == [*order[4:], late.clone.clone_id]
    assert end == ""


async def test_a_clone_that_has_the_id_of_the_one_beside_it_is_told_once(voices: mongo.MongoVoices) -> None:
    """An add whose answer was lost took effect, beside what was made instead."""
    pooled = clone()
    voice = await having(voices, of=pooled, standby=clone(pooled.clone_id, pooled=False))
    other = await having(voices, of=clone())
    clones = Clones(voices)
    assert other.clone is not None
    for size in (1, 2, 3):
        assert await told(clones, size) == sorted([pooled.clone_id, other.clone.clone_id])
    found = await clones.find(pooled.clone_id)
    assert (found.user_id, found.clone) == (voice.user_id, pooled)


async def test_those_who_take_a_place_are_found_by_their_provider(voices: mongo.MongoVoices) -> None:
    held = [await having(voices, of=clone()) for _ in range(3)]
    await having(voices, of=clone(pooled=False))
    found = await voices.held_at("elevenlabs")
    assert {voice.user_id for voice in found} == {voice.user_id for voice in held}
    assert await voices.held_at("another") == []
    assert {voice.user_id for voice in await voices.of([held[0].user_id, "nobody"])} == {held[0].user_id}
    assert await voices.of([]) == []
