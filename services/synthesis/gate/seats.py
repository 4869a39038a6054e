"""Who may speak at a provider now, and who is next: the port, and what it says."""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

# For so long, a provider that refused one of us is believed to have no more seats than those that are taken.
CEILING_SECONDS: Final = 1.0
# How much the newest turn counts in what a turn usually takes.
NEWEST_SHARE: Final = 0.2


class SeatsUnavailable(Exception):
    """Nothing is known about the seats that all replicas share."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What there is to share."""

    # Until the provider has said how many it lets speak.
    assumed: int
    # Never more than these, whatever the provider says; 0 for no such limit.
    most: int = 0
    # Callers who may wait at once.
    queue_limit: int = 64

    def seats(self, learned: int) -> int:
        """How many there are, now that the provider has said so; 0 for not yet."""
        if not self.most:
            return learned or self.assumed
        return min(learned, self.most) if learned else self.most


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether there is room in the queue, how long it looks, and why there is none."""

    admitted: bool
    seconds: float = 0.0
    cause: str = ""


@dataclass(eq=False, slots=True)
class Ticket:
    """One caller. `seated` is done when a seat is theirs, and fails when nobody can tell any more."""

    number: str
    # By the clock of whoever keeps the queue.
    arrived: int = 0
    seated: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def seat(self) -> None:
        if not self.seated.done():
            self.seated.set_result(None)

    def lose(self) -> None:
        if not self.seated.done():
            self.seated.set_exception(SeatsUnavailable())
            # Whoever was about to wait may have been told by another way: then nobody asks.
            self.seated.exception()

    def stand_up(self) -> None:
        self.seated = asyncio.get_running_loop().create_future()


class Seats(Protocol):
    """Each method raises SeatsUnavailable."""

    async def enter(self, ticket: Ticket, patience_seconds: float) -> Outlook:
        """A seat, or a place at the end of the queue; neither when it is not admitted."""

    async def leave(self, ticket: Ticket, held_seconds: float) -> None:
        """Out of seat and queue; the first in the queue gets the seat. Unknown tickets may leave too.

        `held_seconds` is how long the turn took; 0 when there was none.
        """

    async def step_back(self, ticket: Ticket) -> int:
        """From a seat to the head of the queue, until another seat is left. How many others are taken.

        When none is, nothing changes: nobody is there to be waited for.
        """

    async def learn(self, seats: int) -> None:
        """The provider said how many it lets speak at once."""
