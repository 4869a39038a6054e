"""What every keeper of thoughts promises."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from dev.ports import free_port
from services.content.domain import ThoughtsUnavailable
from services.content.ports import Question, Thought, Thoughts
from services.content.redis import MOST_THOUGHTS, ValkeyThoughts
from services.kernel.cache import cache_client
from tests.content_doubles import MemoryThoughts

THOUGHT = Thought("I woke up with Pikachu stuck in my head.", "gemini")


def question(**changes: Any) -> Question:
    asked = Question(str(uuid4()), "note.v2,offline:", "en", "animals", "Pikachu")
    return replace(asked, **changes)


@pytest.fixture(params=["memory", "valkey"])
async def thoughts(request: pytest.FixtureRequest, valkey_url: str) -> AsyncIterator[Thoughts]:
    if request.param == "memory":
        yield MemoryThoughts()
        return
    async with cache_client(valkey_url, seconds=5) as valkey:
        yield ValkeyThoughts(valkey, seconds=60)


async def test_a_kept_thought_answers_the_same_question(thoughts: Thoughts) -> None:
    asked = question()
    assert await thoughts.find(asked) is None
    await thoughts.keep(asked, THOUGHT)
    assert await thoughts.find(asked) == THOUGHT


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "another"},
        {"written_by": "note.v3,offline:"},
        {"language": "es"},
        {"topic": "creatures"},
        {"value": "pikachu"},
        {"topic": "animalsP", "value": "ikachu"},
    ],
)
async def test_a_kept_thought_answers_no_other_question(thoughts: Thoughts, change: dict[str, str]) -> None:
    asked = question()
    await thoughts.keep(asked, THOUGHT)
    assert await thoughts.find(replace(asked, **change)) is None


async def test_forgetting_a_user_leaves_the_others(thoughts: Thoughts) -> None:
    mine, other, theirs = question(), question(value="Mew"), question()
    for asked in (mine, replace(other, user_id=mine.user_id), theirs):
        await thoughts.keep(asked, THOUGHT)
    assert [await thoughts.forget(mine.user_id), await thoughts.forget(mine.user_id)] == [2, 0]
    assert await thoughts.find(mine) is None
    assert await thoughts.find(theirs) == THOUGHT


async def test_a_thought_that_is_finished_after_an_erasure_is_not_kept(thoughts: Thoughts) -> None:
    asked = question()
    await thoughts.forget(asked.user_id)
    await thoughts.keep(asked, THOUGHT)
    assert await thoughts.find(asked) is None


async def test_neither_question_nor_thought_can_be_read_in_the_cache(valkey_url: str) -> None:
    asked = question()
    async with cache_client(valkey_url, seconds=5) as valkey:
        await ValkeyThoughts(valkey, seconds=60).keep(asked, THOUGHT)
        kept = await valkey.hgetall(f"content:thoughts:{asked.user_id}")
        assert len(kept) == 1
        for secret in ("Pikachu", "animals", "head", "gemini"):
            assert secret not in str(kept)


async def test_the_first_thought_says_when_all_of_a_users_are_gone(valkey_url: str) -> None:
    asked = question()
    key = f"content:thoughts:{asked.user_id}"
    async with cache_client(valkey_url, seconds=5) as valkey:
        await ValkeyThoughts(valkey, seconds=60).keep(asked, THOUGHT)
        await ValkeyThoughts(valkey, seconds=3600).keep(replace(asked, value="Mew"), THOUGHT)
        assert await valkey.hlen(key) == 2
        assert 0 < await valkey.ttl(key) <= 60


async def test_a_user_fills_no_more_than_their_share(valkey_url: str) -> None:
    asked = question()
    async with cache_client(valkey_url, seconds=5) as valkey:
        thoughts = ValkeyThoughts(valkey, seconds=60)
        for number in range(MOST_THOUGHTS + 2):
            await thoughts.keep(replace(asked, value=str(number)), THOUGHT)
        assert await thoughts.find(replace(asked, value="0")) == THOUGHT
        assert await thoughts.find(replace(asked, value=str(MOST_THOUGHTS))) is None
        assert await thoughts.forget(asked.user_id) == MOST_THOUGHTS


async def test_what_cannot_be_opened_was_not_kept(valkey_url: str) -> None:
    mine, other = question(), question()
    async with cache_client(valkey_url, seconds=5) as valkey:
        thoughts = ValkeyThoughts(valkey, seconds=60)
        for asked in (mine, other):
            await thoughts.keep(asked, THOUGHT)
        (name,) = await valkey.hkeys(f"content:thoughts:{mine.user_id}")
        (sealed,) = await valkey.hvals(f"content:thoughts:{other.user_id}")
        await valkey.hset(f"content:thoughts:{mine.user_id}", name, sealed)
        assert await thoughts.find(mine) is None


async def test_a_cache_that_is_down_is_said_to_be_so() -> None:
    async with cache_client(f"redis://127.0.0.1:{free_port()}", seconds=1) as valkey:
        thoughts = ValkeyThoughts(valkey, seconds=60)
        with pytest.raises(ThoughtsUnavailable):
            await thoughts.find(question())
        with pytest.raises(ThoughtsUnavailable):
            await thoughts.keep(question(), THOUGHT)
        with pytest.raises(ThoughtsUnavailable):
            await thoughts.forget("u")
