"""Work that goes on when its caller has hung up."""

import asyncio

import pytest

from services.voice.works import Works, outcome_of


class Errand:
    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def run(self) -> int:
        self.begun += 1
        await self.may_end.wait()
        return self.begun


async def test_work_of_one_name_is_done_once_for_all_who_wait_for_it() -> None:
    works, errand = Works(), Errand()
    waiting = [works.start("errand ada", errand.run) for _ in range(5)]
    other = works.start("errand bob", errand.run)
    assert (works.count("errand "), works.is_under_way("errand ada")) == (2, True)
    errand.may_end.set()
    assert await asyncio.gather(*waiting, other) == [1] * 5 + [2]
    assert (errand.begun, works.count("")) == (2, 0)
    assert await works.start("errand ada", errand.run) == 3


async def test_who_waits_can_be_cancelled_and_the_work_is_not() -> None:
    works, errand = Works(), Errand()
    task = works.start("errand", errand.run)
    waiting = asyncio.create_task(outcome_of(task))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    errand.may_end.set()
    assert await task == 1


async def test_closing_gives_time_and_then_cancels() -> None:
    works, quick, endless = Works(), Errand(), Errand()
    done = works.start("quick", quick.run)
    cut = works.start("endless", endless.run)
    await asyncio.sleep(0)
    quick.may_end.set()
    await works.close(0.05)
    assert await done == 1
    assert cut.cancelled()
    assert works.count("") == 0
