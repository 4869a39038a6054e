"""Callers at a gate, and what can be seen of it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import REGISTRY

from services.synthesis.gate import Gate, Seat

# Nobody gives up because the machine is busy.
PATIENCE = 60.0


class Caller:
    """Asks for a seat, says when it has one, and keeps it until it is told to leave."""

    def __init__(self, gate: Gate, patience: float = PATIENCE) -> None:
        self.gate = gate
        self.patience = patience
        self.seat: Seat | None = None
        self.seated = asyncio.Event()
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._speak())

    async def _speak(self) -> None:
        async with self.gate.seat(self.patience) as self.seat:
            self.seated.set()
            await self._leave.wait()
        self.seat = None

    async def leave(self) -> None:
        self._leave.set()
        await self.task


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - metrics and other replicas tell only when asked
            await asyncio.sleep(0.002)


def waiting(gate: Gate) -> float:
    return measured(gate.engine, "waiting_count")


def taken(gate: Gate) -> float:
    return measured(gate.engine, "seats_taken_count")


def measured(engine: str, what: str, **labels: str) -> float:
    """Of all gates of this process whose engine has this name."""
    return REGISTRY.get_sample_value(f"synthesis_gate_{what}", {"engine": engine, **labels}) or 0


async def queued(gate: Gate, number: int) -> list[Caller]:
    """Callers who wait, in their order."""
    callers = []
    for _ in range(number):
        enough = waiting(gate) + 1
        callers.append(Caller(gate))
        await until(partial(_waits, gate, enough))
    return callers


def _waits(gate: Gate, callers: float) -> bool:
    return waiting(gate) == callers
