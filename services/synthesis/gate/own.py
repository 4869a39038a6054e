"""The seats of one process: its share, which it may take without asking anybody."""

import asyncio
from time import monotonic

from services.synthesis.gate.seats import CEILING_SECONDS, NEWEST_SHARE, Outlook, Terms, Ticket


class OwnSeats:
    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._learned = 0
        self._taken: set[Ticket] = set()
        self._queue: list[Ticket] = []
        self._usual_seconds = 0.0
        self._ceiling, self._ceiling_until = 0, 0.0

    def limit_to(self, seats: int) -> None:
        """From now on, this is the share of this process."""
        self._terms = Terms(seats, seats, self._terms.queue_limit)
        self._fill()

    async def enter(self, ticket: Ticket, patience_seconds: float) -> Outlook:
        ahead, limit = len(self._queue), self._limit()
        if not ahead and len(self._taken) < limit:
            self._sit(ticket)
            return Outlook(admitted=True)
        seconds = self._usual_seconds * (ahead + 1) / limit
        if ahead >= self._terms.queue_limit:
            return Outlook(False, seconds, "queue_full")
        if seconds > patience_seconds:
            return Outlook(False, seconds, "too_long")
        self._queue.append(ticket)
        return Outlook(True, seconds)

    async def leave(self, ticket: Ticket, held_seconds: float) -> None:
        if held_seconds:
            newest = NEWEST_SHARE if self._usual_seconds else 1.0
            self._usual_seconds += newest * (held_seconds - self._usual_seconds)
        self._taken.discard(ticket)
        if ticket in self._queue:
            self._queue.remove(ticket)
        self._fill()

    async def step_back(self, ticket: Ticket) -> int:
        others = len(self._taken - {ticket})
        if others:
            self._taken.discard(ticket)
            ticket.stand_up()
            self._queue.insert(0, ticket)
            self._ceiling, self._ceiling_until = others, monotonic() + CEILING_SECONDS
            asyncio.get_running_loop().call_later(CEILING_SECONDS, self._fill)
        return others

    async def learn(self, seats: int) -> None:
        self._learned = seats
        self._fill()

    def _limit(self) -> int:
        seats = self._terms.seats(self._learned)
        return min(seats, self._ceiling) if monotonic() < self._ceiling_until else seats

    def _fill(self) -> None:
        while self._queue and len(self._taken) < self._limit():
            self._sit(self._queue.pop(0))

    def _sit(self, ticket: Ticket) -> None:
        self._taken.add(ticket)
        ticket.seat()
