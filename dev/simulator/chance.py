"""Chance that a seed repeats: each draw hangs on the operation and its number, not on who came first."""

import math
from collections import Counter
from random import Random


class Chance:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn: Counter[str] = Counter()

    def next(self, purpose: str) -> Random:
        self._drawn[purpose] += 1
        return Random(f"{self._seed}/{purpose}/{self._drawn[purpose]}")  # noqa: S311 - repeatable on purpose


def around(chance: Random, median: float) -> float:
    """A wait as networks have them: most near the median, a few several times as long."""
    return median * math.exp(chance.gauss(0, 0.45))
