"""Who waits for whom where memos are put together."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from services.synthesis.domain import EngineOverloaded
from services.synthesis.mixing.crew import Crew
from services.synthesis.seats import Seats


@pytest.fixture
def crew():
    crew = Crew("crew", 1, niceness=5)
    yield crew
    crew.close()


def blocked(crew):
    """A step that takes the thread until the event is set."""
    begun, let_go = threading.Event(), threading.Event()

    def step():
        begun.set()
        let_go.wait(20)

    crew.put(0, step)
    assert begun.wait(20)
    return let_go


def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def niceness_in(crew):
    found, told = [], threading.Event()

    def step():
        found.append(niceness())
        told.set()

    crew.put(0, step)
    assert told.wait(20)
    return found[0]


def test_steps_are_taken_by_turn_and_then_by_arrival(crew):
    done: list[str] = []
    let_go, all_done = blocked(crew), threading.Event()
    for turn, name in ((3, "last"), (2, "second"), (1, "first"), (2, "third")):
        crew.put(turn, partial(done.append, name))
    crew.put(4, all_done.set)
    let_go.set()
    assert all_done.wait(20)
    assert done == ["first", "second", "third", "last"]


def test_what_has_not_begun_when_it_closes_never_does():
    done: list[int] = []
    crew = Crew("crew", 1, niceness=0)
    let_go = blocked(crew)
    for number in range(2000):
        crew.put(1, partial(done.append, number))
    closing = threading.Thread(target=crew.close)
    closing.start()
    # It goes before all that wait, so it is in the queue by the time that this one is seen.
    while crew.waiting <= 2000:
        assert closing.is_alive()
    let_go.set()
    closing.join(20)
    assert not closing.is_alive()
    assert done == []


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
def test_its_threads_leave_the_processor_to_others(crew):
    assert niceness_in(crew) == niceness() + 5


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
def test_a_process_with_low_priority_is_asked_for_no_higher_one():
    """Only some may have one, and a thread that is refused it does no work at all."""

    def opened():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7)
        return Crew("urgent", 1, niceness=0), Crew("usual", 1, niceness=5)

    with ThreadPoolExecutor(1) as low:
        urgent, usual = low.submit(opened).result()
    assert niceness_in(urgent) == 7
    assert niceness_in(usual) == 12
    urgent.close()
    usual.close()


def test_seats_are_refused_when_all_are_taken_and_given_back():
    seats = Seats(3)
    with seats.one(), seats.one(), seats.one():
        assert seats.free == 0
        with pytest.raises(EngineOverloaded), seats.one():
            pytest.fail("there is no fourth seat")
    assert seats.free == 3
