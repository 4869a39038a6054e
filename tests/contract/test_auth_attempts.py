"""Counting failed attempts in the cache."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.auth.domain.slowdown import Counted, Patience
from services.auth.valkey import SECONDS, ValkeyAttempts
from services.kernel.cache import cache_client

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
