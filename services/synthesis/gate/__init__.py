"""Turns at a provider that lets us speak only so many times at once.

Whoever wants to speak gets a seat, or waits in the order of arrival. Who sits and who is next is kept in
`Seats`: those that all replicas share, or those of this process alone.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from math import ceil
from time import monotonic
from uuid import uuid4

import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.synthesis.domain import EngineOverloaded
from services.synthesis.gate.own import OwnSeats
from services.synthesis.gate.seats import Outlook, Seats, SeatsUnavailable, Terms, Ticket

__all__ = ["Gate", "Outlook", "OwnSeats", "Seat", "Seats", "SeatsUnavailable", "Terms", "Ticket"]

log = structlog.get_logger()

WAITING = Gauge("synthesis_gate_waiting_count", "Callers of this process who wait for a seat.", ["engine"])
TAKEN = Gauge("synthesis_gate_seats_taken_count", "Seats that callers of this process have.", ["engine"])
WAIT_SECONDS = Histogram(
    "synthesis_gate_wait_seconds",
    "Time from asking for a seat to having it.",
    ["engine"],
    # Fine around 300 ms, where a listener starts to notice the wait.
    buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 4, 8),
)
REFUSALS = Counter(
    "synthesis_gate_refusals_total",
    "Callers who were sent away: the queue was full, the wait looked too long, or it was.",
    ["engine", "cause"],
)


class Seat:
    """A turn to speak, for as long as its context lasts."""

    def __init__(self, gate: "Gate", seats: Seats, ticket: Ticket, ends_at: float) -> None:
        self._gate = gate
        self._seats = seats
        self._ticket = ticket
        self._ends_at = ends_at

    @property
    def seconds_left(self) -> float:
        """Of the patience that the caller came with."""
        return max(0.0, self._ends_at - monotonic())

    async def another(self) -> bool:
        """The provider has no room for this one: wait until another of ours is left, and sit down again.

        False when no other is known to be ours. Raises EngineOverloaded when it takes too long.
        """
        try:
            if not await self._seats.step_back(self._ticket):
                return False
            await self._gate.wait(self._ticket, self._ends_at)
        except SeatsUnavailable:
            return False
        return True


class Gate:
    def __init__(self, engine: str, own: Seats, shared: Seats | None = None) -> None:
        """`own` is for when there are no shared ones, or they cannot be reached."""
        self.engine = engine
        self._own = own
        self._shared = shared
        self._learned = 0
        # While the shared seats cannot be reached; said once.
        self._alone = False

    @asynccontextmanager
    async def seat(self, patience_seconds: float) -> AsyncIterator[Seat]:
        """Raises EngineOverloaded: at once when it looks too long, or when it was."""
        asked, ticket = monotonic(), Ticket(uuid4().hex)
        ends_at, sat_at = asked + patience_seconds, 0.0
        try:
            seats = await self._seated(ticket, ends_at)
            sat_at = monotonic()
            WAIT_SECONDS.labels(self.engine).observe(sat_at - asked)
            with TAKEN.labels(self.engine).track_inprogress():
                yield Seat(self, seats, ticket, ends_at)
        finally:
            await _in_any_case(self._left(ticket, monotonic() - sat_at if sat_at else 0.0))

    async def wait(self, ticket: Ticket, ends_at: float) -> None:
        """For a seat. Raises EngineOverloaded, or SeatsUnavailable when nobody knows any more who is next."""
        if ticket.seated.done():
            return ticket.seated.result()
        try:
            with WAITING.labels(self.engine).track_inprogress():
                async with asyncio.timeout(ends_at - monotonic()):
                    await ticket.seated
        except TimeoutError:
            raise self._refusal("waited", 0.0) from None

    async def learn(self, seats: int) -> None:
        """How many the provider lets speak; it says so with every answer, and it rarely changes."""
        if seats == self._learned or seats < 1:
            return
        self._learned = seats
        for where in (self._own, self._shared):
            if where:
                try:
                    await where.learn(seats)
                except SeatsUnavailable:
                    # The next answer says it again.
                    self._learned = 0

    async def _seated(self, ticket: Ticket, ends_at: float) -> Seats:
        """Where the ticket has its seat."""
        if self._shared:
            try:
                await self._waited(self._shared, ticket, ends_at)
            except SeatsUnavailable:
                if not self._alone:
                    log.warning("speech_gate_unreachable", engine=self.engine)
                self._alone = True
                ticket.stand_up()
            else:
                self._alone = False
                return self._shared
        await self._waited(self._own, ticket, ends_at)
        return self._own

    async def _waited(self, seats: Seats, ticket: Ticket, ends_at: float) -> None:
        outlook = await seats.enter(ticket, ends_at - monotonic())
        if not outlook.admitted:
            raise self._refusal(outlook.cause, outlook.seconds)
        await self.wait(ticket, ends_at)

    def _refusal(self, cause: str, seconds: float) -> EngineOverloaded:
        REFUSALS.labels(self.engine, cause).inc()
        refusal = EngineOverloaded("Too many memos are being spoken at the provider right now.")
        refusal.retry_after_seconds = ceil(seconds) or EngineOverloaded.retry_after_seconds
        return refusal

    async def _left(self, ticket: Ticket, held_seconds: float) -> None:
        """Both places: who sits in one because the other was lost is known there once it is found again."""
        await self._own.leave(ticket, held_seconds)
        if self._shared:
            try:
                await self._shared.leave(ticket, held_seconds)
            except SeatsUnavailable:
                # Nobody renews it any more, so it runs out by itself.
                if not self._alone:
                    log.warning("speech_seat_left_to_run_out", engine=self.engine)


async def _in_any_case(work: Coroutine[None, None, None]) -> None:
    """Also when whoever waits for it is cancelled meanwhile: a seat not given back is lost for a while."""
    await asyncio.shield(asyncio.create_task(work))
