"""Performances to replay: made up from a seed, or read from a file."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAY: Final = 86400.0
CYCLE_DAYS: Final = 30
PIECE: Final = 1 << 16
ZIPF: Final = 0.9
# Performances come in sittings: a performer does the routine for several people of one evening.
SITTING_PERFORMS: Final = 3.0
SITTING_GAP_SECONDS: Final = 240.0
SHORT_LIVED: Final = 0.3
SHORT_LIFE_DAYS: Final = (1.0, 5.0)
# Of a user who stays, in 30 days, on average over all users.
SITTINGS_A_MONTH: Final = 8.0
# Evenings are busy and nights are quiet: the share of each hour of the day, from midnight.
HOURS: Final = np.array([3, 2, 1, 1, 1, 1, 2, 3, 4, 4, 4, 5, 6, 5, 4, 4, 5, 7, 10, 12, 13, 12, 9, 6], float)


@dataclass(frozen=True, slots=True)
class Load:
    """Who performs when, in order of time. Users are 0 to users - 1; times are seconds."""

    name: str
    times: NDArray[np.float64]
    who: NDArray[np.int64]
    users: int
    seconds: float

    def performs(self) -> Iterator[tuple[float, int]]:
        """Moment and user, converted a piece at a time: as Python objects all would fill the memory."""
        for at in range(0, len(self.times), PIECE):
            piece = slice(at, at + PIECE)
            yield from zip(self.times[piece].tolist(), self.who[piece].tolist(), strict=True)


def synthetic(users: int, seed: int) -> Load:
    random = np.random.default_rng(seed)
    weight = np.arange(1, users + 1) ** -ZIPF
    random.shuffle(weight)
    sittings_a_day = weight / weight.sum() * users * SITTINGS_A_MONTH / CYCLE_DAYS
    born, gone = _lives(users, random)
    counts = random.poisson(sittings_a_day * (gone - born))
    who = np.repeat(np.arange(users), counts)
    day = np.floor(born[who] + random.random(len(who)) * (gone - born)[who])
    starts = day * DAY + _time_of_day(len(who), random)
    sizes = random.geometric(1 / SITTING_PERFORMS, len(who))
    who, starts = np.repeat(who, sizes), np.repeat(starts, sizes)
    gaps = random.exponential(SITTING_GAP_SECONDS, len(who))
    first = np.concatenate(([0], np.cumsum(sizes)[:-1])) if len(sizes) else sizes
    walked = np.cumsum(gaps)
    times = starts + walked - np.repeat(walked[first], sizes)
    inside = times < CYCLE_DAYS * DAY
    times, who = times[inside], who[inside]
    order = np.argsort(times, kind="stable")
    return Load(f"zipf-{users}-seed-{seed}", times[order], who[order], users, CYCLE_DAYS * DAY)


def _lives(users: int, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Most users are there all the time; the others come on any day and leave a few days later."""
    born, gone = np.zeros(users), np.full(users, float(CYCLE_DAYS))
    short = random.random(users) < SHORT_LIVED
    life = random.uniform(*SHORT_LIFE_DAYS, users)
    came = random.uniform(-SHORT_LIFE_DAYS[1], CYCLE_DAYS, users)
    born[short] = np.clip(came, 0, CYCLE_DAYS)[short]
    gone[short] = np.clip(came + life, 0, CYCLE_DAYS)[short]
    return born, gone


def _time_of_day(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    edges = np.concatenate(([0], np.cumsum(HOURS / HOURS.sum())))
    return np.asarray(np.interp(random.random(count), edges, np.arange(25) * 3600.0))


def from_csv(path: Path) -> Load:
    """A file with the columns time_s and user. Its cycle begins with the first performance."""
    times: list[float] = []
    who: list[int] = []
    known: dict[str, int] = {}
    with path.open(newline="") as rows:
        for row in csv.DictReader(rows):
            times.append(float(row["time_s"]))
            who.append(known.setdefault(row["user"], len(known)))
    moments = np.array(times, float)
    order = np.argsort(moments, kind="stable")
    if len(moments) == 0:
        raise ValueError(f"{path} holds no performance")
    moments = moments[order] - moments.min()
    return Load(path.stem, moments, np.array(who, np.int64)[order], len(known), CYCLE_DAYS * DAY)
