"""Who waits for whom in the studio."""

import asyncio
import threading

import pytest

from services.synthesis.domain import EngineOverloaded
from services.synthesis.studio import Studio


@pytest.fixture
def studio():
    """One thread, and one step that may wait at its door."""
    studio = Studio(seats=3, threads=1)
    yield studio
    studio.close()


async def settled():
    """Everything that can go on without a thread has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def blocked(studio):
    """Steps that take every turn until the event is set."""
    let_go = threading.Event()
    steps = [asyncio.ensure_future(studio.run(let_go.wait, 20)) for _ in range(2)]
    await settled()
    return let_go, steps


async def test_a_first_sound_goes_before_all_that_waits(studio):
    let_go, steps = await blocked(studio)
    done: list[str] = []
    waiting = [asyncio.ensure_future(studio.run(done.append, f"later {at}")) for at in range(3)]
    await settled()
    waiting += [asyncio.ensure_future(studio.hurry(done.append, f"first {at}")) for at in range(2)]
    await settled()
    let_go.set()
    await asyncio.gather(*steps, *waiting)
    assert done == ["first 0", "first 1", "later 0", "later 1", "later 2"]


async def test_who_leaves_while_waiting_takes_no_turn_with_them(studio):
    let_go, steps = await blocked(studio)
    done: list[int] = []
    waiting = [asyncio.ensure_future(studio.run(done.append, at)) for at in range(4)]
    await settled()
    for leaving in waiting[:3]:
        leaving.cancel()
    let_go.set()
    await asyncio.gather(*steps, *waiting, return_exceptions=True)
    assert done == [3]
    for at in range(4):
        await asyncio.wait_for(studio.run(done.append, at), 5)
    assert done == [3, 0, 1, 2, 3]


async def test_who_leaves_as_the_turn_comes_passes_it_on(studio):
    for leaver in range(2):
        let_go, steps = await blocked(studio)
        done: list[int] = []
        waiting = [asyncio.ensure_future(studio.run(done.append, at)) for at in range(2)]
        await settled()
        let_go.set()
        # Two steps end here, so both turns are given before anybody who waits runs again.
        await asyncio.wait(steps)
        waiting[leaver].cancel()
        await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    for _ in range(3):
        assert await asyncio.wait_for(studio.run(lambda: "free"), 5) == "free"


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
