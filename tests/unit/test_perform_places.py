"""How many performances at once: told by how long they take, on a clock of the test's own."""

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from services.perform.errors import PerformBusy
from services.perform.places import Memory, Places


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def places(clock: Clock, least: int = 4, most: int = 32) -> Places:
    return Places("test", least, most, late_seconds=6, clock=clock)


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
        assert filled(found, entered) == found.open == shown_taken() == 16
    assert shown_taken() == 0
    with ExitStack() as entered:
        assert filled(found, entered) == 16


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
    assert (seen[0], seen[-1]) == (12, 4)


def test_those_that_are_late_together_count_once() -> None:
    found = places(Clock())
    with ExitStack() as entered:
        filled(found, entered)
        for _ in range(50):
            found.ended(60, well=False)
    assert found.open == 12


def test_late_ones_say_nothing_of_the_room_while_more_than_half_of_it_is_empty() -> None:
    clock = Clock()
    found = places(clock)
    with ExitStack() as entered:
        for _ in range(7):
            entered.enter_context(found.one())
        for _ in range(12):
            clock.now += 6
            found.ended(60, well=True)
        assert found.open == 16
        entered.enter_context(found.one())
        found.ended(60, well=True)
    assert found.open == 12


def test_performances_in_good_time_make_them_more_only_while_all_places_are_taken() -> None:
    found = places(Clock())
    for _ in range(50):
        found.ended(1, well=True)
    assert found.open == 16
    with ExitStack() as entered:
        filled(found, entered)
        found.ended(1, well=True)
    assert found.open == 17


def test_a_failure_in_good_time_says_nothing_of_the_room_there_is() -> None:
    found = places(Clock())
    with ExitStack() as entered:
        filled(found, entered)
        found.ended(1, well=False)
    assert found.open == 16


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
