"""How many performances at once: told by how long they take, on a clock of the test's own."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from services.perform.errors import PerformBusy
from services.perform.places import Memory, Patience, Places


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def places(clock: Clock, least: int = 4, most: int = 32) -> Places:
    return Places("test", least, most, Patience(6), clock)


def filled(found: Places, entered: ExitStack) -> int:
    """Takes all places that there are."""
    taken = 0
    while True:
        try:
            entered.enter_context(found.one())
        except PerformBusy:
            return taken
        taken += 1


def shown_taken() -> float | None:
    """What the autoscaler reads."""
    return REGISTRY.get_sample_value("perform_places_taken", {"for": "test"})


def test_who_finds_no_place_is_refused_and_a_place_given_back_is_free_again() -> None:
    found = places(Clock())
    with ExitStack() as entered:
        assert filled(found, entered) == found.open == shown_taken() == 24
    assert shown_taken() == 0
    with ExitStack() as entered:
        assert filled(found, entered) == 24


def test_late_performances_make_them_fewer_but_never_fewer_than_the_least() -> None:
    clock = Clock()
    found = places(clock)
    seen = []
    with ExitStack() as entered:
        filled(found, entered)
        for _ in range(12):
            clock.now += 6
            found.ended(7, well=True)
            seen.append(found.open)
    assert seen == sorted(seen, reverse=True)
    assert (seen[0], seen[-1]) == (18, 4)


def test_those_that_are_late_together_count_once() -> None:
    found = places(Clock())
    with ExitStack() as entered:
        filled(found, entered)
        for _ in range(50):
            found.ended(60, well=False)
    assert found.open == 18


def test_late_ones_say_nothing_of_the_room_while_more_than_half_of_it_is_empty() -> None:
    clock = Clock()
    found = places(clock)
    with ExitStack() as entered:
        for _ in range(11):
            entered.enter_context(found.one())
        for _ in range(12):
            clock.now += 6
            found.ended(60, well=True)
        assert found.open == 24
        entered.enter_context(found.one())
        found.ended(60, well=True)
    assert found.open == 18


def test_performances_in_good_time_make_them_more_only_while_all_places_are_taken() -> None:
    found = places(Clock())
    for _ in range(50):
        found.ended(1, well=True)
    assert found.open == 24
    with ExitStack() as entered:
        filled(found, entered)
        found.ended(1, well=True)
    assert found.open == 25


def test_a_failure_in_good_time_says_nothing_of_the_room_there_is() -> None:
    found = places(Clock())
    with ExitStack() as entered:
        filled(found, entered)
        found.ended(1, well=False)
    assert found.open == 24


@pytest.mark.parametrize(("each_seconds", "most"), [(0.1, 64), (0.5, 16), (3.0, 6)])
def test_they_settle_where_nobody_waits_much_longer_than_that(each_seconds: float, most: int) -> None:
    """A machine that makes one memo after the other, and callers without end."""
    clock, waits = Clock(), []
    found = places(clock, least=2, most=64)
    with ExitStack() as entered:
        under_way = [clock.now] * filled(found, entered)
    while clock.now < 600:
        clock.now += each_seconds
        began = under_way.pop(0)
        with ExitStack() as entered:
            for _ in range(len(under_way) + 1):
                entered.enter_context(found.one()) if len(under_way) < found.open else None
            found.ended(clock.now - began, well=True)
        waits.append(clock.now - began)
        under_way += [clock.now] * max(0, found.open - len(under_way))
    late = waits[len(waits) // 2 :]
    assert max(late) < 6 + 2 * each_seconds
    assert found.open <= most


async def asked(found: Places, come: int, seconds: float = 60) -> list[asyncio.Task[ExitStack]]:
    """So many who want one within that time, in this order."""
    give_up = asyncio.get_running_loop().time() + seconds
    callers = [asyncio.create_task(found.next(give_up)) for _ in range(come)]
    await settled()
    return callers


async def settled() -> None:
    """Everybody has done what they can."""
    for _ in range(5):
        await asyncio.sleep(0)


def rushed(wait_seconds: float = 60) -> Places:
    """Four places, and room for as many to wait."""
    return Places("test", 4, 4, Patience(wait_seconds, wait_seconds))


def shown_waiting() -> float | None:
    return REGISTRY.get_sample_value("perform_places_waiting", {"for": "test"})


async def test_a_rush_gets_its_places_in_order_of_arrival_and_a_crowd_is_refused_at_once() -> None:
    found = rushed()
    callers = await asked(found, 10)
    assert [caller.done() for caller in callers] == [True] * 4 + [False] * 4 + [True] * 2
    assert shown_waiting() == 4
    for refused in callers[8:]:
        with pytest.raises(PerformBusy):
            await refused
    for left, served in zip(callers[:4], callers[4:8], strict=True):
        (await left).close()
        await settled()
        assert served.done()
    assert (shown_waiting(), shown_taken()) == (0, 4)
    for caller in callers[4:8]:
        (await caller).close()
    assert shown_taken() == 0


async def test_nobody_overtakes_who_waits() -> None:
    found = rushed()
    first, *_, waits = await asked(found, 5)
    (await first).close()
    with pytest.raises(PerformBusy), found.one():
        pass
    await waits
    assert shown_taken() == 4


async def test_who_leaves_while_waiting_takes_no_place() -> None:
    found = rushed()
    *inside, impatient, patient = await asked(found, 6)
    impatient.cancel()
    (await inside[0]).close()
    await settled()
    assert patient.done()
    assert (shown_waiting(), shown_taken()) == (0, 4)


async def test_who_leaves_just_when_it_is_their_turn_passes_it_on() -> None:
    found = rushed()
    *inside, impatient, patient = await asked(found, 6)
    (await inside[0]).close()
    impatient.cancel()
    await settled()
    assert impatient.cancelled()
    assert patient.done()
    assert (shown_waiting(), shown_taken()) == (0, 4)


async def test_who_waited_too_long_is_refused() -> None:
    found = rushed(wait_seconds=0.01)
    *inside, waits = await asked(found, 5)
    with pytest.raises(PerformBusy):
        await waits
    for caller in inside:
        (await caller).close()
    assert (shown_waiting(), shown_taken()) == (0, 0)


async def test_nobody_waits_longer_than_they_can() -> None:
    *_, waits = await asked(rushed(), 5, seconds=0.01)
    with pytest.raises(PerformBusy):
        await waits
    assert (shown_waiting(), shown_taken()) == (0, 4)


async def test_when_places_become_more_those_who_wait_get_them() -> None:
    found = Places("test", 4, 6, Patience(6, 6))
    callers = await asked(found, 6)
    assert shown_waiting() == 2
    found.ended(1, well=True)
    await settled()
    assert (shown_waiting(), shown_taken(), found.open) == (1, 5, 5)
    for caller in callers:
        caller.cancel()


async def test_without_time_to_wait_everybody_else_is_refused_at_once() -> None:
    *_, refused = await asked(Places("test", 4, 4, Patience(6)), 5)
    with pytest.raises(PerformBusy):
        await refused


def test_speeches_begin_in_half_of_the_memory_and_grow_into_the_rest() -> None:
    memory = Memory(100)
    memory.begin()
    memory.take(50)
    with pytest.raises(PerformBusy):
        memory.begin()
    memory.take(50)
    with pytest.raises(PerformBusy):
        memory.take(1)
    memory.give_back(51)
    memory.begin()


def test_what_is_held_for_a_while_is_given_back_whatever_happens() -> None:
    memory = Memory(100)
    for _ in range(2):
        with pytest.raises(RuntimeError), memory.part(100):
            raise RuntimeError
