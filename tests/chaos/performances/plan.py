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


# Who, and what happens to them: a provider that was killed would forget its voices, and nobody else could.
Aim = tuple[str, str, str]


def aims_of(composition: str) -> list[Aim]:
    """Every kill and freeze, of everybody, at every step; neighbours have little in common."""
    everybody = (*processes_of(composition), "gateway", *STORES)
    found = [(kind, whom, step) for kind in ("kill", "freeze") for whom in everybody for step in STEPS]
    found += [("freeze", "provider", step) for step in STEPS]
    Random(f"aims/{composition}").shuffle(found)
    return found


def troubles_of(composition: str) -> list[tuple[str, str]]:
    """What happens at any moment: kind, whom."""
    ours = processes_of(composition)
    behind_proxies = (*STORES, "provider", *(ours if composition == "many" else ()))
    found = [(kind, whom) for kind in ("cut", "slow") for whom in behind_proxies]
    found += [("clock", whom) for whom in ours]
    found += [("disk", "blobs")] * (len(found) // 5)
    Random(f"troubles/{composition}").shuffle(found)
    return found


# Five processes have twice as many aims as one; with these, fewer than 90 seeds meet them all.
_AIMS_A_SEED: Final = {"one": 1, "many": 2}


def plan_of(seed: int, composition: str, kinds: Sequence[str] = KINDS) -> Plan:
    """Aims and troubles take turns, so that seeds in a row meet all of them; the rest is chance."""
    chance = Random(f"performances/{composition}/{seed}")
    aims = [aim for aim in aims_of(composition) if aim[0] in kinds]
    troubles = [trouble for trouble in troubles_of(composition) if trouble[0] in kinds]
    count = _AIMS_A_SEED[composition]
    chosen: list[Sequence[str]] = (
        [aims[(seed * count + each) % len(aims)] for each in range(count)] if aims else []
    )
    chosen += [troubles[seed % len(troubles)]] if troubles else []
    found = [_disturbance(*each, chance=chance) for each in chosen]
    return Plan(
        seed=seed,
        fault_share=chance.choice((0.0, 0.0, 0.03, 0.1)),
        latency=chance.choice((0.0, 0.1, 0.3)),
        hang_seconds=chance.uniform(0.2, 1.0),
        disturbances=tuple(sorted(found, key=lambda each: each.at)),
    )


# Seconds from, to. A freeze is at times longer than the time after which somebody else takes over.
_LASTS: Final = {
    "kill": (0.0, 0.6),
    "freeze": (0.3, 3.0),
    "cut": (0.1, 1.0),
    "slow": (0.5, 2.0),
    "disk": (0.3, 1.5),
    "clock": (0.5, 2.0),
}


def _disturbance(what: str, whom: str, step: str = "", *, chance: Random) -> Disturbance:
    at, lasts = chance.uniform(0.2, SECONDS - 1.5), chance.uniform(*_LASTS[what])
    shift = chance.choice((-300, -20, 20, 300)) if what == "clock" else 0
    return Disturbance(what, whom, at, lasts, step, shift)
