"""How much this process takes on at once: more than it can end in good time, or hold, helps nobody."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, NoReturn

from prometheus_client import Counter, Gauge

from services.perform.errors import PerformBusy

REFUSED = Counter("perform_refused_total", "Requests refused because all places were taken.", ["for"])
OPEN = Gauge("perform_places", "How many this process takes on at once.", ["for"])
TAKEN = Gauge("perform_places_taken", "How many of them are taken right now.", ["for"])
WAITING = Gauge("perform_places_waiting", "How many wait for one of them right now.", ["for"])
HELD = Gauge("perform_held_speech_bytes", "Audio of speeches that is held in memory for its listeners.")
_FEWER: Final = 0.75
_AT_FIRST: Final = 0.75
# Places may be cut while somebody waits.
_LONGEST_WAIT: Final = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """After how many seconds a performance is late, and how many one may wait for a place."""

    late_seconds: float = 0
    wait_seconds: float = 0


class Places:
    """Who finds none is refused before anything is written, reserved or asked of others.

    Their number lies between `least` and `most`, and follows from how long performances take: it grows as
    they end in good time while all places are taken, and is cut by a quarter when one was late, at most once
    in `late_seconds`. So nobody waits in a queue that this machine, its engine or its provider cannot keep up
    with, whatever they are able to do.

    A moment's rush waits, in order of arrival: as many as get a place within `wait_seconds` if all are late.
    """

    def __init__(
        self,
        name: str,
        least: int,
        most: int,
        patience: Patience = Patience(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """With `least` and `most` the same there is nothing to learn."""
        self._refused = REFUSED.labels(name)
        self._shown = OPEN.labels(name)
        self._shown_taken = TAKEN.labels(name)
        self._shown_waiting = WAITING.labels(name)
        self._least = min(least, most)
        self._most = most
        self._late_seconds = patience.late_seconds
        self._wait_seconds = patience.wait_seconds
        self._clock = clock
        self._taken = 0
        self._waiting = deque[asyncio.Future[None]]()
        self._last_cut: float | None = None
        # A busy evening must not begin with refusals.
        self._set(max(self._least, most * _AT_FIRST))

    @property
    def open(self) -> int:
        return int(self._open)

    @property
    def is_free(self) -> bool:
        """There is one for who comes now."""
        return self._taken < self.open and not self._waiting

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises PerformBusy at once when all are taken."""
        if not self.is_free:
            self._refuse()
        self._take()
        try:
            yield
        finally:
            self._leave()

    async def next(self, give_up: float) -> ExitStack:
        """The same for who can wait for their turn, until `give_up` by the loop's clock; closing it gives the
        place back. Raises PerformBusy: at once when too many wait already, later when it takes too long all
        the same."""
        if self.is_free:
            self._take()
        else:
            await self._turn(give_up)
        place = ExitStack()
        place.callback(self._leave)
        return place

    async def _turn(self, give_up: float) -> None:
        if len(self._waiting) >= self._room:
            self._refuse()
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        self._show_waiting()
        try:
            async with asyncio.timeout_at(min(loop.time() + self._wait_seconds * _LONGEST_WAIT, give_up)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # It came too late.
                self._leave()
            with suppress(ValueError):
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                self._refuse()
            raise
        finally:
            self._show_waiting()

    @property
    def _room(self) -> int:
        return int(self.open * self._wait_seconds / self._late_seconds) if self._late_seconds else 0

    def _refuse(self) -> NoReturn:
        self._refused.inc()
        raise PerformBusy("Too many performances are under way.")

    def ended(self, seconds: float, *, well: bool) -> None:
        """What one performance tells of the others. To be said while it still has its place."""
        if seconds > self._late_seconds:
            # With most places empty it was something else: a voice that is cloned again, a provider.
            if self._taken * 2 >= self.open:
                self._cut()
        elif well and self._taken >= self.open:
            # Until the first was late twice as many in that time, then one more.
            self._set(self._open + (1 if self._last_cut is None else 1 / self._open))

    def _cut(self) -> None:
        now = self._clock()
        # Those that were late together are one piece of news.
        if self._last_cut is None or now - self._last_cut >= self._late_seconds:
            self._last_cut = now
            self._set(self._open * _FEWER)

    def _take(self) -> None:
        self._taken += 1
        self._shown_taken.set(self._taken)

    def _leave(self) -> None:
        self._taken -= 1
        self._shown_taken.set(self._taken)
        self._call()

    def _call(self) -> None:
        """Whose turn it is."""
        while self._waiting and self._taken < self.open:
            turn = self._waiting.popleft()
            if not turn.done():
                self._take()
                turn.set_result(None)

    def _show_waiting(self) -> None:
        self._shown_waiting.set(len(self._waiting))

    def _set(self, count: float) -> None:
        self._open = min(max(count, self._least), self._most)
        self._shown.set(self.open)
        self._call()


class Memory:
    """For speeches that wait for their listeners. Half of it is left for what is begun already to grow."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0

    def begin(self) -> None:
        """Raises PerformBusy at once when too much is held for one more."""
        if self._held * 2 >= self._most:
            self._refuse()

    def take(self, size: int) -> None:
        """Raises PerformBusy when there is not as much."""
        if self._held + size > self._most:
            self._refuse()
        self._set(self._held + size)

    def give_back(self, size: int) -> None:
        self._set(self._held - size)

    @contextmanager
    def part(self, size: int) -> Iterator[None]:
        """Raises PerformBusy."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    def _refuse(self) -> NoReturn:
        REFUSED.labels("speeches").inc()
        raise PerformBusy("Too much is being spoken.")

    def _set(self, size: int) -> None:
        self._held = size
        HELD.set(size)
