"""A few seeds of the voice pool's chaos; `python -m tests.chaos.voice_pool --seeds 200` runs any number."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.voice_pool import site
from tests.chaos.voice_pool.run import play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[site.Site]:
    async with site.opened(tmp_path_factory.mktemp("chaos")) as opened:
        yield opened


# A replica, the cache and the database are killed while a third of all answers fail.
SEED = 14


async def test_no_voice_is_lost_taken_away_or_left_behind(opened: site.Site, tmp_path: Path) -> None:
    """3 replicas, 50 users, 10 places; killed, frozen and lied to by this seed."""
    figures = await play(opened, SEED, tmp_path)
    assert figures["leases"] > figures["adds"] > 0
