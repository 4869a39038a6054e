"""Counting failed attempts in the cache."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.auth.domain.slowdown import Counted, Patience
from services.auth.valkey import SECONDS, ValkeyAttempts
from services.kernel.cache import cache_client
from tests.contract.losing_way import losing_way

NOW = datetime(2026, 5, 1, 20, tzinfo=UTC)
PATIENCE = Patience(free=5, longest=timedelta(seconds=60))


@pytest.fixture
async def attempts(valkey_url: str) -> AsyncIterator[ValkeyAttempts]:
    async with cache_client(valkey_url, SECONDS) as valkey:
        yield ValkeyAttempts(valkey, timedelta(hours=1), uuid4().hex)


async def test_attempts_that_run_at_once_arrive_in_any_order_and_wait_for_nothing(
    attempts: ValkeyAttempts,
) -> None:
    address = [Counted("somewhere", PATIENCE)]
    assert await attempts.begin(address, NOW + timedelta(milliseconds=80)) == timedelta(0)
    assert await attempts.begin(address, NOW) == timedelta(0)


async def test_whoever_has_used_up_the_free_attempts_waits(attempts: ValkeyAttempts) -> None:
    address = [Counted("somewhere", PATIENCE)]
    for _ in range(PATIENCE.free):
        assert await attempts.begin(address, NOW) == timedelta(0)
    assert await attempts.begin(address, NOW) > timedelta(0)


async def test_an_attempt_whose_answer_was_lost_does_not_wait_for_itself(valkey_url: str) -> None:
    """The client asks again, and the first time has counted."""
    patience = Patience(free=1, longest=timedelta(seconds=60))
    async with losing_way(valkey_url) as way, cache_client(way.url, seconds=5) as valkey:
        attempts, address = (
            ValkeyAttempts(valkey, timedelta(hours=1), uuid4().hex),
            [Counted("here", patience)],
        )
        await valkey.ping()
        way.loses_the_next = True
        assert await attempts.begin(address, NOW) == timedelta(0)
        assert way.lost == 1
        assert await attempts.begin(address, NOW) > timedelta(0)
