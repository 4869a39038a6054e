"""Policies from the literature, under the same limits: without an add left a miss stays a miss.

None of them knows that adds are scarce, except the token bucket. TinyLFU compares frequencies before it
replaces, which saves adds by the way.
"""

from collections import OrderedDict
from typing import Final, Protocol

from bench.pool.loads import CYCLE_DAYS, DAY, Load
from bench.pool.replay import Outcome


class Rival(Protocol):
    name: str

    def served(self, user: int, now: float) -> bool:
        """One performance; True when it is spoken by a clone."""

    @property
    def clones(self) -> int: ...


class TokenBucket:
    """LRU that replaces only as fast as adds accrue, and saves up a day's worth of them."""

    name = "lru_token_bucket"

    def __init__(self, slots: int, adds: int) -> None:
        self._slots, self._adds = slots, adds
        self._a_day = max(adds - slots, 1) / CYCLE_DAYS
        self._tokens, self._filled_at = 0.0, 0.0
        self._held: OrderedDict[int, None] = OrderedDict()
        self.clones = 0

    def served(self, user: int, now: float) -> bool:
        self._tokens += (now - self._filled_at) / DAY * self._a_day
        self._tokens = min(self._tokens, max(self._a_day, 1.0))
        self._filled_at = now
        if user in self._held:
            self._held.move_to_end(user)
            return True
        if self.clones >= self._adds:
            return False
        if len(self._held) >= self._slots:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            self._held.popitem(last=False)
        self._held[user] = None
        self.clones += 1
        return True


class Sieve:
    """SIEVE (Zhang et al., NSDI 2024): a hand walks from the oldest, spares who was visited, once."""

    name = "sieve"

    def __init__(self, slots: int, adds: int) -> None:
        self._slots, self._adds = slots, adds
        self._queue: list[int] = []  # Oldest first.
        self._visited: dict[int, bool] = {}
        self._hand = 0
        self.clones = 0

    def served(self, user: int, now: float) -> bool:
        if user in self._visited:
            self._visited[user] = True
            return True
        if self.clones >= self._adds:
            return False
        if len(self._queue) >= self._slots:
            self._evict()
        self._queue.append(user)
        self._visited[user] = False
        self.clones += 1
        return True

    def _evict(self) -> None:
        while True:
            self._hand %= len(self._queue)
            user = self._queue[self._hand]
            if not self._visited[user]:
                break
            self._visited[user] = False
            self._hand += 1
        del self._queue[self._hand]
        del self._visited[user]


class Sketch:
    """A count-min sketch of four rows with counters to 15, halved after ten samples a place."""

    SEEDS: Final = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)

    def __init__(self, slots: int) -> None:
        self._bits = max(8, (16 * slots).bit_length())
        self._rows = [bytearray(1 << self._bits) for _ in self.SEEDS]
        self._samples, self._limit = 0, 10 * slots

    def add(self, user: int) -> None:
        for row, cell in zip(self._rows, self._cells(user), strict=True):
            row[cell] = min(row[cell] + 1, 15)
        self._samples += 1
        if self._samples >= self._limit:
            self._rows = [bytearray(count >> 1 for count in row) for row in self._rows]
            self._samples //= 2

    def count(self, user: int) -> int:
        return min(row[cell] for row, cell in zip(self._rows, self._cells(user), strict=True))

    def _cells(self, user: int) -> list[int]:
        return [((user + 1) * seed & (1 << 64) - 1) >> (64 - self._bits) for seed in self.SEEDS]


class TinyLfu:
    """LRU whose newcomer must be more frequent than its victim (Einziger et al., 2017), without a window."""

    name = "tinylfu"

    def __init__(self, slots: int, adds: int) -> None:
        self._slots, self._adds = slots, adds
        self._held: OrderedDict[int, None] = OrderedDict()
        self._sketch = Sketch(slots)
        self.clones = 0

    def served(self, user: int, now: float) -> bool:
        self._sketch.add(user)
        if user in self._held:
            self._held.move_to_end(user)
            return True
        if self.clones >= self._adds:
            return False
        if len(self._held) >= self._slots:
            oldest = next(iter(self._held))
            if self._sketch.count(user) <= self._sketch.count(oldest):
                return False
            del self._held[oldest]
        self._held[user] = None
        self.clones += 1
        return True


RIVALS: Final = (Sieve, TinyLfu, TokenBucket)


def replay_rival(load: Load, rival: Rival) -> Outcome:
    served = sum(rival.served(user, now) for now, user in load.performs())
    return Outcome(rival.name, len(load.times), served, rival.clones)
