"""Keys and answers of the auth service in a real database, as time passes and processes die."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.auth.mongo import open_database
from services.auth.mongo.replays import MongoReplays
from services.kernel.replay import Attempt, Earlier

KEY = bytes(range(32))


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def replays(mongo_url: str, clock: Clock) -> AsyncIterator[MongoReplays]:
    async with open_database(mongo_url, f"auth_{uuid4().hex}", 8) as database:
        yield MongoReplays(database.answers, KEY, clock)


def attempt() -> Attempt:
    return Attempt("ada", "Register", "key", b"request", uuid4().hex)


def again(first: Attempt) -> Attempt:
    return replace(first, attempt_id=uuid4().hex)


async def test_one_of_many_attempts_has_the_key(replays: MongoReplays) -> None:
    first = attempt()
    earlier = await asyncio.gather(*(replays.claim(again(first)) for _ in range(8)))
    assert earlier.count(None) == 1
    assert earlier.count(Earlier(same_request=True, answer=None)) == 7


async def test_an_answer_is_there_for_a_day(replays: MongoReplays, clock: Clock) -> None:
    first = attempt()
    await replays.claim(first)
    await replays.keep(first, b"answer")
    clock.now += timedelta(hours=23, minutes=59)
    assert await replays.claim(again(first)) == Earlier(same_request=True, answer=b"answer")
    other = replace(again(first), request=b"another")
    assert await replays.claim(other) == Earlier(same_request=False, answer=b"answer")
    clock.now += timedelta(minutes=1)
    assert await replays.claim(other) is None
    assert await replays.claim(again(other)) == Earlier(same_request=True, answer=None)


async def test_who_died_in_the_middle_does_not_hold_the_key_and_changes_nothing_later(
    replays: MongoReplays, clock: Clock
) -> None:
    dead = attempt()
    await replays.claim(dead)
    clock.now += timedelta(seconds=19)
    assert await replays.claim(again(dead)) == Earlier(same_request=True, answer=None)
    clock.now += timedelta(seconds=1)
    heir = again(dead)
    assert await replays.claim(heir) is None
    await replays.keep(dead, b"too late")
    await replays.free(dead)
    assert await replays.claim(again(heir)) == Earlier(same_request=True, answer=None)
    await replays.keep(heir, b"answer")
    assert await replays.claim(again(heir)) == Earlier(same_request=True, answer=b"answer")


async def test_a_key_given_back_is_free_for_any_request(replays: MongoReplays) -> None:
    first = attempt()
    await replays.claim(first)
    await replays.free(first)
    assert await replays.claim(replace(again(first), request=b"another")) is None


@pytest.mark.parametrize("other", [{"user_id": "ben"}, {"method": "Other"}, {"key": "other"}])
async def test_another_user_method_or_key_is_another_place(
    replays: MongoReplays, other: dict[str, str]
) -> None:
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
