"""How many memos, or backgrounds, are made at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.synthesis.domain import EngineOverloaded


class Seats:
    """Whoever has one keeps it to the end: a memo that has begun is not refused halfway."""

    def __init__(self, count: int) -> None:
        self.free = count

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises EngineOverloaded at once when all are taken."""
        if not self.free:
            raise EngineOverloaded("All places for speaking are taken.")
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1
