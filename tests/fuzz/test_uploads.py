"""A few hundred of the damaged recordings of which `./newvisions test --fuzz` sends ten thousand."""

import resource
import sys
from pathlib import Path

import pytest

from services.voice.examiners import Examiners
from services.voice.sample.worker import MOST_MEMORY_BYTES
from tests import samples
from tests.fuzz.mutations import hostile
from tests.fuzz.uploads import fuzz, workers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="measures processes in /proc"),
]


async def test_no_damaged_recording_crashes_hangs_or_fills_a_worker() -> None:
    found = await fuzz(seed=7, numbers=range(200), lanes=2)
    assert found.good, found.line()
    assert found.outcomes.total() == 200
    # Damage that nothing gets through would prove nothing.
    assert len(found.outcomes) >= 3


def test_the_same_seed_and_number_make_the_same_recording() -> None:
    assert [hostile(3, number) for number in range(20)] == [hostile(3, number) for number in range(20)]
    assert len({hostile(3, number) for number in range(20)}) > 15


async def test_a_worker_cannot_take_more_memory_than_it_may_nor_leave_a_core_file() -> None:
    before = set(workers())
    examiners = Examiners(1, 1, 30)
    await examiners.start()
    try:
        (process,) = set(workers()) - before
        await examiners.reread(samples.short_speech())
        limits = dict(_limits(process))
    finally:
        await examiners.close()
    assert limits["Max data size"] == str(MOST_MEMORY_BYTES)
    assert limits["Max core file size"] == "0"
    assert resource.getrlimit(resource.RLIMIT_DATA)[1] != MOST_MEMORY_BYTES


def _limits(process: int):
    for line in Path(f"/proc/{process}/limits").read_text().splitlines()[1:]:
        name, _, hard = line[:25].strip(), line[26:46].strip(), line[47:67].strip()
        yield name, hard
