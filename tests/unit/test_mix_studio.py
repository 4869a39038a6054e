"""Who waits for whom in the studio."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from services.synthesis.domain import EngineOverloaded
from services.synthesis.studio import Studio


@pytest.fixture
def studio():
    """One thread for first sounds, and one for the rest."""
    studio = Studio(seats=3, threads=1)
    yield studio
    studio.close()


async def blocked(studio):
    """A step that takes the thread for the rest until the event is set."""
    begun, let_go = asyncio.Event(), threading.Event()
    tell = partial(asyncio.get_running_loop().call_soon_threadsafe, begun.set)
    step = asyncio.ensure_future(studio.run(lambda: (tell(), let_go.wait(20))))
    await asyncio.wait_for(begun.wait(), 20)
    return let_go, step


async def settled():
    """Everything that can go on without a thread has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_first_sound_waits_for_none_of_the_rest(studio):
    let_go, step = await blocked(studio)
    assert await asyncio.wait_for(studio.hurry(lambda: "heard"), 20) == "heard"
    let_go.set()
    await step


async def test_steps_are_taken_by_turn_and_then_by_arrival(studio):
    let_go, step = await blocked(studio)
    done: list[str] = []
    waiting = [
        asyncio.ensure_future(studio.run_in_turn(turn, done.append, name))
        for turn, name in ((3, "last"), (2, "second"), (1, "first"), (2, "third"))
    ]
    await settled()
    let_go.set()
    await asyncio.gather(step, *waiting)
    assert done == ["first", "second", "third", "last"]


async def test_who_leaves_while_waiting_is_not_worked_for(studio):
    let_go, step = await blocked(studio)
    done: list[int] = []
    waiting = [asyncio.ensure_future(studio.run(done.append, at)) for at in range(4)]
    await settled()
    for leaving in waiting[:3]:
        leaving.cancel()
    let_go.set()
    await asyncio.gather(step, *waiting, return_exceptions=True)
    assert done == [3]


async def test_who_leaves_while_worked_for_is_not_told_and_harms_nobody(studio):
    let_go, step = await blocked(studio)
    step.cancel()
    await asyncio.wait([step])
    let_go.set()
    assert await asyncio.wait_for(studio.run(lambda: "free"), 20) == "free"


async def test_nobody_waits_for_a_studio_that_has_closed():
    studio = Studio(seats=1, threads=1)
    let_go, step = await blocked(studio)
    waiting = [asyncio.ensure_future(studio.run(lambda: "more than it does by then")) for _ in range(2000)]
    await settled()
    let_go.set()
    studio.close()
    await asyncio.wait_for(asyncio.wait([step, *waiting]), 20)
    assert waiting[-1].cancelled()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
async def test_all_but_first_sounds_leave_the_processor_to_others(studio):
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await studio.hurry(niceness) == niceness() < await studio.run(niceness)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
async def test_a_studio_of_a_process_with_low_priority_asks_for_no_higher_one():
    """Only some may have one, and a thread that is refused it does no work at all."""

    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def opened():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7)
        return Studio(seats=1, threads=1)

    with ThreadPoolExecutor(1) as low:
        studio = low.submit(opened).result()
    assert await studio.hurry(niceness) == 7
    assert await studio.run(niceness) == 12
    studio.close()


async def test_a_step_that_fails_gives_its_turn_back(studio):
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(studio.run(lambda: 1 / 0), 5)


def test_seats_are_refused_when_all_are_taken_and_given_back(studio):
    with studio.seat(), studio.seat(), studio.seat():
        assert studio.free == 0
        with pytest.raises(EngineOverloaded), studio.seat():
            pytest.fail("there is no fourth seat")
    assert studio.free == 3
