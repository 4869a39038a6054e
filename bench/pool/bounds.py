"""What could be served by one who knew the whole cycle beforehand.

Between two figures lies the best that is possible:

- `static_best`: the users who perform most get the places, at their first performance, and keep them.
- `upper_bound`: a Lagrangian relaxation. An add costs `add_price` and a place `place_price` a second, both
  in performances; each user alone then takes the best stays at those prices. What all of them gain, plus
  the worth of all adds and all place-time at those prices, is at least what any schedule serves, at any
  prices that are not negative. The prices are searched for that make it least.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.pool.loads import Load


@dataclass(frozen=True, slots=True)
class Bounds:
    static_best: float
    upper_bound: float


def bounds(load: Load, slots: int, adds: int) -> Bounds:
    performs = len(load.times)
    counts = np.sort(np.bincount(load.who, minlength=load.users))[::-1]
    static = int(counts[: min(slots, adds)].sum())
    return Bounds(static / performs, min(1.0, _least_dual(load, slots, adds) / performs))


def _least_dual(load: Load, slots: int, adds: int) -> float:
    gaps = _gaps(load)
    place_time = slots * load.seconds

    def dual(add_price: float, log_place_price: float) -> float:
        place_price = math.exp2(log_place_price)
        gained = sum(_best_stays(of_one, add_price, place_price) for of_one in gaps)
        return gained + add_price * adds + place_price * place_time

    def at_best_place_price(add_price: float) -> float:
        # Between one performance held for a second and one held for ten years.
        return _least(lambda log_price: dual(add_price, log_price), -29.0, -10.0, 0.1)

    # No add is worth more than the busiest user's performances; far less is where the least lies.
    return min(_least(at_best_place_price, 0.0, 200.0, 0.25), at_best_place_price(0.0))


def _gaps(load: Load) -> list[list[float]]:
    """For each user the seconds between performances."""
    order = np.lexsort((load.times, load.who))
    who, times = load.who[order], load.times[order]
    cuts = np.flatnonzero(np.diff(who)) + 1
    return [np.diff(of_one).tolist() for of_one in np.split(times, cuts)]


def _best_stays(gaps: list[float], add_price: float, place_price: float) -> float:
    """The most one user gains: at each performance the voice is held on, made anew, or not there."""
    absent, held = 0.0, 1.0 - add_price
    for gap in gaps:
        stayed = held - place_price * gap
        if held > absent:  # noqa: PLR1730 - max() takes twice as long, and this loop is all of it.
            absent = held
        made = absent - add_price
        held = 1.0 + (stayed if stayed > made else made)
    return held if held > absent else absent


def _least(of: Callable[[float], float], low: float, high: float, width: float) -> float:
    """The least value seen by a golden section search: `of` is convex, so it is near the least."""
    golden = (5**0.5 - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = of(left), of(right)
    best = min(at_left, at_right)
    while high - low > width:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = of(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = of(right)
        best = min(best, at_left, at_right)
    return best
