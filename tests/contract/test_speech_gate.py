"""Turns at a provider, kept by one process or shared by several through Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from services.synthesis.domain import EngineOverloaded
from services.synthesis.gate import Gate, Terms
from services.synthesis.valkey import Shared, open_gate
from tests.contract.gate_callers import PATIENCE, Caller, measured, queued, taken, until, waiting

_names = (f"gate{number}" for number in count())
Open = Callable[..., Awaitable[Gate]]


@pytest.fixture(params=["own", "shared"])
def url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("valkey_url")) if request.param == "shared" else None


@pytest.fixture
async def opened(url: str | None) -> AsyncIterator[Open]:
    """Opens the gate of a key; each time as another replica."""
    name = next(_names)
    async with AsyncExitStack() as stack:

        async def open_one(seats: int = 2, queue_limit: int = 64, most: int = 0) -> Gate:
            terms = Terms(assumed=seats, most=most, queue_limit=queue_limit)
            shared = Shared(url, seconds=20) if url else None
            return await stack.enter_async_context(open_gate(name, name, terms, shared))

        yield open_one


async def test_seats_go_round_in_the_order_of_arrival(opened: Open) -> None:
    gate = await opened(seats=2)
    first, second = Caller(gate), Caller(gate)
    await until(lambda: first.seat and second.seat)
    others = await queued(gate, 4)
    assert (taken(gate), waiting(gate)) == (2, 4)
    speaking = [first, second]
    for nearest in others:
        await speaking.pop(0).leave()
        await until(nearest.seated.is_set)
        speaking.append(nearest)
        assert sum(caller.seated.is_set() for caller in others) == others.index(nearest) + 1
    for caller in speaking:
        await caller.leave()
    assert (taken(gate), waiting(gate)) == (0, 0)


async def test_who_is_beyond_the_queue_is_sent_away_at_once(opened: Open) -> None:
    gate = await opened(seats=1, queue_limit=2)
    speaking = Caller(gate)
    await until(speaking.seated.is_set)
    waiters = await queued(gate, 2)
    with pytest.raises(EngineOverloaded) as refused:
        async with gate.seat(PATIENCE):
            pass
    assert refused.value.retry_after_seconds >= 1
    assert measured(gate.engine, "refusals_total", cause="queue_full") == 1
    for caller in (speaking, *waiters):
        await caller.leave()


async def test_who_waited_long_enough_is_sent_away_and_forgotten(opened: Open) -> None:
    gate = await opened(seats=1)
    speaking = Caller(gate)
    await until(speaking.seated.is_set)
    with pytest.raises(EngineOverloaded):
        async with gate.seat(0.05):
            pass
    (patient,) = await queued(gate, 1)
    await speaking.leave()
    await until(patient.seated.is_set)
    await patient.leave()


async def test_a_wait_that_looks_too_long_is_not_begun(opened: Open) -> None:
    gate = await opened(seats=1)
    # A turn of a second is what is known of turns.
    async with gate.seat(PATIENCE):
        await asyncio.sleep(1)
    speaking = Caller(gate)
    await until(speaking.seated.is_set)
    (behind,) = await queued(gate, 1)
    with pytest.raises(EngineOverloaded) as refused:
        async with asyncio.timeout(0.9), gate.seat(0.95):
            pass
    assert refused.value.retry_after_seconds in (2, 3)
    assert measured(gate.engine, "refusals_total", cause="too_long") == 1
    await speaking.leave()
    await until(behind.seated.is_set)
    await behind.leave()


async def test_who_hangs_up_while_waiting_leaves_the_queue(opened: Open) -> None:
    gate = await opened(seats=1)
    speaking = Caller(gate)
    await until(speaking.seated.is_set)
    gone, next_one = await queued(gate, 2)
    gone.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone.task
    await speaking.leave()
    await until(next_one.seated.is_set)
    assert not gone.seated.is_set()
    await next_one.leave()


async def test_what_the_provider_says_of_its_seats_counts(opened: Open) -> None:
    gate = await opened(seats=1)
    speaking = Caller(gate)
    await until(speaking.seated.is_set)
    waiters = await queued(gate, 3)
    await gate.learn(3)
    await until(lambda: waiters[0].seat and waiters[1].seat)
    assert waiting(gate) == 1
    await gate.learn(1)
    await speaking.leave()
    await waiters[0].leave()
    assert waiting(gate) == 1
    await waiters[1].leave()
    await until(waiters[2].seated.is_set)
    await waiters[2].leave()


async def test_the_operators_limit_holds_whatever_the_provider_says(opened: Open) -> None:
    gate = await opened(seats=1, most=2)
    callers = [Caller(gate), Caller(gate)]
    await until(lambda: callers[0].seat and callers[1].seat)
    callers += await queued(gate, 1)
    await gate.learn(30)
    assert waiting(gate) == 1
    for caller in callers:
        await until(caller.seated.is_set)
        await caller.leave()


async def test_a_seat_that_the_provider_does_not_have_waits_for_another(opened: Open) -> None:
    gate = await opened(seats=3)
    other, refused = Caller(gate), Caller(gate)
    await until(lambda: other.seat and refused.seat)
    assert refused.seat
    again = asyncio.create_task(refused.seat.another())
    await until(lambda: waiting(gate) == 1)
    # A newcomer finds a place behind, though a third seat is thought to be there.
    (newcomer,) = await queued(gate, 1)
    await other.leave()
    assert await again
    await refused.leave()
    await until(newcomer.seated.is_set)
    await newcomer.leave()


async def test_without_others_there_is_nobody_to_wait_for(opened: Open) -> None:
    gate = await opened(seats=3)
    async with gate.seat(PATIENCE) as seat:
        assert await seat.another() is False


async def test_one_who_waits_for_another_seat_is_sent_away_in_time(opened: Open) -> None:
    gate = await opened(seats=2)
    other, refused = Caller(gate), Caller(gate, patience=0.3)
    await until(lambda: other.seat and refused.seat)
    assert refused.seat
    with pytest.raises(EngineOverloaded):
        await refused.seat.another()
    await refused.leave()
    await other.leave()
    assert (taken(gate), waiting(gate)) == (0, 0)


async def test_nothing_is_forgotten_when_many_come_and_go(opened: Open) -> None:
    gate, most = await opened(seats=3), 0

    async def visit(number: int) -> None:
        nonlocal most
        async with gate.seat(PATIENCE):
            most = max(most, int(taken(gate)))
            await asyncio.sleep(0.001 * (number % 7))

    visits = [asyncio.create_task(visit(number)) for number in range(300)]
    for number in range(0, 300, 11):
        # At another moment each time: before it asked, while it asks, waits or sits, and after.
        await asyncio.sleep(0)
        visits[number].cancel()
    outcomes = await asyncio.gather(*visits, return_exceptions=True)
    assert all(
        outcome is None or isinstance(outcome, EngineOverloaded | asyncio.CancelledError)
        for outcome in outcomes
    )
    assert 1 <= most <= 3
    assert (taken(gate), waiting(gate)) == (0, 0)
    async with gate.seat(PATIENCE), gate.seat(PATIENCE), gate.seat(PATIENCE):
        assert taken(gate) == 3
