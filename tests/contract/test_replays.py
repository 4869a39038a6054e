"""Keys and answers where each service keeps them, as time passes and processes die."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from dev.ports import free_port
from services.auth.composition import answers_of
from services.auth.mongo import open_database
from services.content.answers import ValkeyAnswers
from services.kernel.cache import cache_client
from services.kernel.database import database_client
from services.kernel.replay import Attempt, Earlier, Replays
from services.voice.answers import kept_answers
from services.voice.blobs import Keys
from tests.contract.losing_way import losing_way

KEY = bytes(range(32))
# How long a call may take; a process that has the key for longer has died.
LONGEST = {"auth": timedelta(seconds=20), "voice": timedelta(seconds=40), "content": timedelta(seconds=20)}


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=LONGEST)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def replays(service: str, mongo_url: str, valkey_url: str, clock: Clock) -> AsyncIterator[Replays]:
    async with AsyncExitStack() as stack:
        match service:
            case "auth":
                database = await stack.enter_async_context(open_database(mongo_url, f"a_{uuid4().hex}", 8))
                yield answers_of(database, KEY, clock)
            case "voice":
                client = await stack.enter_async_context(database_client(mongo_url, 8, seconds=10))
                yield kept_answers(client[f"v_{uuid4().hex}"]["answers"], Keys([KEY]), clock)
            case _:
                yield ValkeyAnswers(await stack.enter_async_context(cache_client(valkey_url, 5)), clock)


def attempt() -> Attempt:
    return Attempt(uuid4().hex, "Register", "key", b"request", uuid4().hex)


def again(first: Attempt) -> Attempt:
    return replace(first, attempt_id=uuid4().hex)


async def test_one_of_many_attempts_has_the_key(replays: Replays) -> None:
    first = attempt()
    earlier = await asyncio.gather(*(replays.claim(again(first)) for _ in range(8)))
    assert earlier.count(None) == 1
    assert earlier.count(Earlier(same_request=True, answer=None)) == 7


async def test_an_answer_is_there_for_a_day(replays: Replays, clock: Clock) -> None:
    first = attempt()
    await replays.claim(first)
    await replays.keep(first, b"answer")
    clock.now += timedelta(hours=23, minutes=59)
    assert await replays.claim(again(first)) == Earlier(same_request=True, answer=b"answer")
    other = replace(again(first), request=b"another")
    earlier = await replays.claim(other)
    assert earlier is not None
    assert not earlier.same_request
    clock.now += timedelta(minutes=1)
    assert await replays.claim(other) is None
    assert await replays.claim(again(other)) == Earlier(same_request=True, answer=None)


async def test_who_died_in_the_middle_does_not_hold_the_key_and_changes_nothing_later(
    service: str, replays: Replays, clock: Clock
) -> None:
    dead = attempt()
    await replays.claim(dead)
    clock.now += LONGEST[service] - timedelta(seconds=1)
    assert await replays.claim(again(dead)) == Earlier(same_request=True, answer=None)
    clock.now += timedelta(seconds=1)
    heir = again(dead)
    assert await replays.claim(heir) is None
    await replays.keep(dead, b"too late")
    await replays.free(dead)
    assert await replays.claim(again(heir)) == Earlier(same_request=True, answer=None)
    await replays.keep(heir, b"answer")
    assert await replays.claim(again(heir)) == Earlier(same_request=True, answer=b"answer")


async def test_a_key_given_back_is_free_for_any_request(replays: Replays) -> None:
    first = attempt()
    await replays.claim(first)
    await replays.free(first)
    assert await replays.claim(replace(again(first), request=b"another")) is None


@pytest.mark.parametrize("other", [{"user_id": "ben"}, {"method": "Other"}, {"key": "other"}])
async def test_another_user_method_or_key_is_another_place(replays: Replays, other: dict[str, str]) -> None:
    first = attempt()
    await replays.claim(first)
    different = Attempt(
        other.get("user_id", first.user_id),
        other.get("method", first.method),
        other.get("key", first.key),
        first.request,
        uuid4().hex,
    )
    assert await replays.claim(different) is None


async def test_answers_to_an_erased_user_are_gone_and_those_to_others_stay(replays: Any) -> None:
    first, other = attempt(), attempt()
    second = replace(again(first), key="another")
    for each in (first, second, other):
        await replays.claim(each)
        await replays.keep(each, b"answer")
    # What is under way is found, too.
    await replays.claim(replace(again(first), key="a third"))
    assert [await replays.forget(first.user_id) for _ in range(2)] == [3, 0]
    assert await replays.claim(again(first)) is None
    assert await replays.claim(again(other)) == Earlier(same_request=True, answer=b"answer")


async def test_who_reads_the_database_reads_neither_answer_nor_request(mongo_url: str, clock: Clock) -> None:
    async with database_client(mongo_url, 8, seconds=10) as client:
        kept = client[f"v_{uuid4().hex}"]["answers"]
        answers = kept_answers(kept, Keys([KEY]), clock)
        first = replace(attempt(), request=b"a recording")
        await answers.claim(first)
        await answers.keep(first, b"a secret shown once")
        (document,) = await kept.find({}).to_list()
    for secret in (b"a secret shown once", b"a recording", first.user_id.encode()):
        assert secret not in repr(document).encode()


async def test_without_the_cache_a_key_counts_as_new(clock: Clock) -> None:
    async with cache_client(f"redis://127.0.0.1:{free_port()}", seconds=0.2) as nobody:
        answers, first = ValkeyAnswers(nobody, clock), attempt()
        assert await answers.claim(first) is None
        await answers.keep(first, b"answer")
        await answers.free(first)
        assert await answers.claim(again(first)) is None


async def test_a_key_is_had_by_who_took_it_though_the_answer_was_lost(valkey_url: str, clock: Clock) -> None:
    async with losing_way(valkey_url) as way, cache_client(way.url, seconds=5) as valkey:
        answers, first = ValkeyAnswers(valkey, clock), attempt()
        await answers.claim(attempt())
        way.loses_the_next = True
        assert await answers.claim(first) is None
        assert way.lost == 1
        assert await answers.claim(again(first)) == Earlier(same_request=True, answer=None)


async def test_a_request_that_waits_for_its_twin_leaves_nothing_after_an_erasure(
    valkey_url: str, clock: Clock
) -> None:
    async with cache_client(valkey_url, 5) as valkey:
        answers, first = ValkeyAnswers(valkey, clock), attempt()
        await answers.claim(first)
        assert await answers.forget(first.user_id) == 1
        twin = again(first)
        assert await answers.claim(twin) is None
        await answers.keep(twin, b"answer")
        assert await answers.forget(first.user_id) == 0
        assert await answers.claim(again(first)) is None
