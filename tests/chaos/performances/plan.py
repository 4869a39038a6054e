"""What one seed does: how those perform who perform, and what happens to whom at which moment or step."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from dev.services import SERVICES

SECONDS: Final = 4.0
# What a performance goes through; a disturbance may wait for one that is there.
STEPS: Final = (*("claim", "reserve", "lease", "compose", "speak", "store", "keep", "settle", "succeed"),)
STORES: Final = ("mongo", "valkey")
KINDS: Final = ("kill", "freeze", "cut", "slow", "disk", "clock")


@dataclass(frozen=True, slots=True)
class Disturbance:
    # kill, freeze: a process; cut, slow: the connections to somebody; disk: no room for audio; clock: a
    # process that is `shift` seconds ahead.
    what: str
    whom: str
    at: float
    lasts: float
    # From `at` on, it waits for a performance in this step; empty for none.
    step: str = ""
    shift: int = 0

    def __str__(self) -> str:
        waits = f" at {self.step}" if self.step else ""
        shift = f" by {self.shift} s" if self.shift else ""
        return f"{self.at:5.2f} s  {self.what} {self.whom}{waits}{shift} for {self.lasts:.2f} s"


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    fault_share: float
    latency: float
    hang_seconds: float
    disturbances: tuple[Disturbance, ...]

    def __str__(self) -> str:
        provider = f"seed {self.seed}: faults {self.fault_share:.2f}, latency {self.latency:.2f}"
        return "\n".join([provider, *map(str, self.disturbances)])


def processes_of(composition: str) -> tuple[str, ...]:
    return tuple(SERVICES) if composition == "many" else ("services",)


def plan_of(seed: int, composition: str, kinds: Sequence[str] = KINDS) -> Plan:
    """The kinds of disturbance take turns, so that a few seeds meet all of them; the rest is chance."""
    chance = Random(f"performances/{composition}/{seed}")
    first = kinds[seed % len(kinds)]
    others = [chance.choice(kinds) for _ in range(chance.choice((0, 1, 1, 2)))]
    found = [_disturbance(kind, composition, chance) for kind in (first, *others)]
    return Plan(
        seed=seed,
        fault_share=chance.choice((0.0, 0.0, 0.03, 0.1)),
        latency=chance.choice((0.0, 0.1, 0.3)),
        hang_seconds=chance.uniform(0.2, 1.0),
        disturbances=tuple(sorted(found, key=lambda each: each.at)),
    )


def _disturbance(what: str, composition: str, chance: Random) -> Disturbance:
    ours = processes_of(composition)
    at, step = chance.uniform(0.2, SECONDS - 1.5), ""
    peers = ours if composition == "many" else ()
    match what:
        case "kill":
            whom, lasts = chance.choice((*ours, *ours, "gateway", *STORES)), chance.uniform(0, 0.6)
            step = chance.choice(STEPS)
        case "freeze":
            # Longer than the time after which somebody else takes over, at times.
            whom, lasts = chance.choice((*ours, *ours, "gateway", *STORES)), chance.uniform(0.3, 3.0)
            step = chance.choice(STEPS)
        case "cut":
            whom, lasts = chance.choice((*STORES, "provider", *peers)), chance.uniform(0.1, 1.0)
        case "slow":
            whom, lasts = chance.choice((*STORES, "provider", *peers)), chance.uniform(0.5, 2.0)
        case "disk":
            whom, lasts = "blobs", chance.uniform(0.3, 1.5)
        case _:
            ahead = chance.choice((-300, -20, 20, 300))
            return Disturbance(what, chance.choice(ours), at, chance.uniform(0.5, 2.0), shift=ahead)
    return Disturbance(what, whom, at, lasts, step)
