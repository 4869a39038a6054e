"""One gate for several replicas: in one order, through deaths, and through the loss of Valkey."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from dev import embedded
from dev.ports import free_port
from dev.process import Process
from services.synthesis.gate import Gate, Terms
from services.synthesis.valkey import Shared, open_gate
from tests.contract.gate_callers import PATIENCE, Caller, queued, taken, until, waiting

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Short, so that what a dead process left runs out soon; long enough for a busy machine.
LEASE = 3.0
_names = (f"replicas{number}" for number in count())

Open = Callable[..., Awaitable[Gate]]


@pytest.fixture
def name() -> str:
    return next(_names)


@pytest.fixture
async def opened(name: str) -> AsyncIterator[Open]:
    """Another replica at the gate, each time."""
    async with AsyncExitStack() as stack:

        async def open_one(url: str, seats: int = 2) -> Gate:
            gate = open_gate(name, name, Terms(assumed=seats), Shared(url, 20, LEASE))
            return await stack.enter_async_context(gate)

        yield open_one


class Kept:
    """What Valkey keeps of a gate."""

    def __init__(self, url: str, name: str) -> None:
        self._valkey = Redis.from_url(url, decode_responses=True)
        self._name = name

    async def __aenter__(self) -> "Kept":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._valkey.aclose()

    async def of(self, kind: str) -> dict[str, float]:
        (key,) = [key async for key in self._valkey.scan_iter(f"*:gate:{{{self._name}-*}}:{kind}")] or [""]
        found: Any = await self._valkey.zrange(key, 0, -1, withscores=True)
        return {str(who): float(lasts) for who, lasts in found}

    async def later(self, kind: str, number: int, seconds: float = 0.001) -> None:
        """Until so many are kept, and each has been renewed for so long."""
        async with asyncio.timeout(20):
            while len(first := await self.of(kind)) != number:
                pass
            while min(now - first[who] for who, now in (await self.of(kind)).items()) < seconds * 1000:
                pass


async def test_replicas_take_turns_in_the_order_of_arrival_at_all_of_them(
    opened: Open, valkey_url: str
) -> None:
    gates = [await opened(valkey_url) for _ in range(3)]
    speaking = [Caller(gates[0]), Caller(gates[1])]
    await until(lambda: all(caller.seat for caller in speaking))
    waiters = [caller for number in range(9) for caller in await queued(gates[number % 3], 1)]
    for nearest in waiters:
        await speaking.pop(0).leave()
        await until(nearest.seated.is_set)
        speaking.append(nearest)
        assert [caller.seated.is_set() for caller in waiters].count(True) == waiters.index(nearest) + 1
    for caller in speaking:
        await caller.leave()


async def test_what_one_replica_learns_all_know(opened: Open, valkey_url: str) -> None:
    first, second = [await opened(valkey_url, seats=1) for _ in range(2)]
    speaking = Caller(first)
    await until(speaking.seated.is_set)
    (waiter,) = await queued(second, 1)
    await first.learn(2)
    await until(waiter.seated.is_set)
    await speaking.leave()
    await waiter.leave()


async def test_a_seat_lasts_as_long_as_its_caller_speaks(opened: Open, valkey_url: str, name: str) -> None:
    first, second = [await opened(valkey_url, seats=1) for _ in range(2)]
    speaking = Caller(first)
    await until(speaking.seated.is_set)
    (waiter,) = await queued(second, 1)
    async with Kept(valkey_url, name) as kept:
        await kept.later("seats", 1, seconds=2 * LEASE)
    assert not waiter.seated.is_set()
    await speaking.leave()
    await until(waiter.seated.is_set)
    await waiter.leave()


async def test_what_a_killed_replica_had_comes_back(opened: Open, valkey_url: str, name: str) -> None:
    command = (sys.executable, "-m", "tests.contract.gate_visitor", valkey_url, name, "2", str(LEASE), "4")
    killed = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert killed.stdout
    async with asyncio.timeout(60):
        assert [await killed.stdout.readline() for _ in range(2)] == [b"seated\n"] * 2
    gate = await opened(valkey_url)
    # Two of the other replica sit and two wait; these come after them.
    waiters = await queued(gate, 2)
    killed.kill()
    await killed.wait()
    assert not any(waiter.seated.is_set() for waiter in waiters)
    for waiter in waiters:
        await until(waiter.seated.is_set)
        await waiter.leave()


async def test_the_key_itself_is_not_kept(valkey_url: str) -> None:
    terms = Terms(assumed=1)
    async with (
        open_gate("elevenlabs", "a-secret-key", terms, Shared(valkey_url, 20)) as gate,
        gate.seat(PATIENCE),
        Redis.from_url(valkey_url, decode_responses=True) as valkey,
    ):
        names = [name async for name in valkey.scan_iter("*:gate:{elevenlabs-*")]
        channels = await valkey.pubsub_channels("*:gate:{elevenlabs-*")
    assert names
    assert channels
    assert "a-secret-key" not in str([names, channels])


async def test_without_valkey_each_process_has_its_share_and_says_so() -> None:
    with capture_logs() as logs:
        async with open_gate("alone", "key", Terms(assumed=4, most=2), None) as gate:
            async with gate.seat(PATIENCE), gate.seat(PATIENCE):
                (waiter,) = await queued(gate, 1)
            await until(waiter.seated.is_set)
            await waiter.leave()
    (said,) = [event for event in logs if event["event"] == "speech_gate_not_shared"]
    assert (said["log_level"], said["seats"]) == ("warning", 2)


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """A Valkey, and what stops it when it runs and starts it, empty or not, when it does not."""
    port, servers = free_port(), list[Process]()

    async def toggle() -> None:
        if servers:
            await servers.pop().stop()
        else:
            servers.append(await Process.start(embedded.valkey(port, tmp_path), tmp_path, ROOT))

    await toggle()
    yield embedded.valkey_url(port), toggle
    if servers:
        await toggle()


async def test_when_valkey_is_lost_each_goes_on_with_its_share(
    opened: Open, fragile: tuple[str, Callable[[], Awaitable[None]]], name: str
) -> None:
    url, toggle = fragile
    first, second = [await opened(url, seats=4) for _ in range(2)]
    async with Kept(url, name) as kept:
        # Since the last beat each knows that there are two of them.
        await kept.later("pods", 2)
    before = [Caller(first) for _ in range(4)]
    await until(lambda: all(caller.seat for caller in before))
    (waiter,) = await queued(second, 1)
    await toggle()
    # Who waited is seated from the own share, and so are newcomers: two of four seats each.
    await until(waiter.seated.is_set)
    newcomers = [Caller(second) for _ in range(2)]
    await until(lambda: newcomers[0].seat)
    await until(lambda: waiting(second) == 1)
    await newcomers[0].leave()
    await until(lambda: newcomers[1].seat)
    await toggle()
    async with Kept(url, name) as kept:
        # The whole truth is known there again: six speak, so the next waits until three have left.
        await kept.later("seats", 6)
    (late,) = await queued(first, 1)
    for caller in (waiter, newcomers[1]):
        await caller.leave()
    assert not late.seated.is_set()
    await before[0].leave()
    await until(late.seated.is_set)
    for caller in (late, *before[1:]):
        await caller.leave()
    assert (taken(first), waiting(first)) == (0, 0)
