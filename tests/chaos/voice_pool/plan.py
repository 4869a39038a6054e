"""What one seed does: the provider's limits and faults, the users' habits, and who is killed when."""

from dataclasses import dataclass
from random import Random
from typing import Final

REPLICAS: Final = ("voice-1", "voice-2", "voice-3")
USERS: Final = 50
# Ours, whatever else the account holds.
PLACES: Final = 10
SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Disturbance:
    at: float
    # kill, freeze: a process; steal: a voice disappears at the provider; reconcile: an operator's pass.
    what: str
    whom: str = ""
    lasts: float = 0.0

    def __str__(self) -> str:
        return f"{self.at:5.2f} s  {self.what} {self.whom} {f'for {self.lasts:.2f} s' if self.lasts else ''}"


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    # At the provider: voices that are not ours hold some of the slots.
    slots: int
    foreign: int
    ceiling: int
    adds: int
    fault_share: float
    latency: float
    hang_seconds: float
    policy: str
    # Often, or only at the start of each replica and when somebody asks.
    reconcile_seconds: float
    rename: bool
    uploads: int
    disturbances: tuple[Disturbance, ...]

    def __str__(self) -> str:
        provider = (
            f"seed {self.seed}: {self.slots} slots, {self.foreign} of them foreign, "
            f"ceiling {self.ceiling or 'none'}, {self.adds} adds, faults {self.fault_share:.2f}, "
            f"latency {self.latency:.3f}, hang {self.hang_seconds:.1f} s, policy {self.policy}, "
            f"rename {self.rename}, reconciled every {self.reconcile_seconds} s"
        )
        return "\n".join([provider, *map(str, self.disturbances)])


def plan_of(seed: int) -> Plan:
    chance = Random(f"plan/{seed}")
    foreign = chance.choice((0, 2, 3))
    # Either the slots are all that there are, or a setting leaves some of them to others.
    ceiling = 0 if foreign else PLACES
    rename = chance.random() < 0.3
    return Plan(
        seed=seed,
        slots=PLACES + (foreign or 3),
        foreign=foreign,
        ceiling=ceiling,
        # Adds of the foreign ones included. Two to ten for a place: spent early, or not at all.
        adds=foreign + chance.choice((20, 40, 60, 100)) * (2 if rename else 1),
        fault_share=chance.choice((0.0, 0.05, 0.15, 0.3)),
        latency=chance.choice((0.0, 0.02, 0.06)),
        hang_seconds=chance.uniform(0.2, 0.8),
        policy=chance.choice(("lru", "lru", "lfu", "decayed_rate")),
        reconcile_seconds=chance.choice((1.5, 600)),
        rename=rename,
        uploads=chance.choice((1, 2, 3)),
        disturbances=_disturbances(chance, seed),
    )


def _disturbances(chance: Random, seed: int) -> tuple[Disturbance, ...]:
    def moment() -> float:
        return chance.uniform(0.1, SECONDS - 0.2)

    found = [
        Disturbance(moment(), "kill", chance.choice(REPLICAS), chance.uniform(0, 0.6))
        for _ in range(chance.choice((0, 1, 1, 2, 3)))
    ]
    found += [
        Disturbance(moment(), "freeze", chance.choice(REPLICAS), chance.uniform(0.2, 2.0))
        for _ in range(chance.choice((0, 0, 1, 2)))
    ]
    found += [Disturbance(moment(), "steal") for _ in range(chance.choice((0, 0, 1, 2)))]
    found += [Disturbance(moment(), "reconcile") for _ in range(chance.choice((0, 1, 2)))]
    if chance.random() < 0.3:
        found.append(Disturbance(moment(), "kill", "valkey", chance.uniform(0.1, 0.8)))
    if seed % 5 == 4:
        found.append(Disturbance(moment(), "kill", "mongo", chance.uniform(0, 0.5)))
    return tuple(sorted(found, key=lambda each: each.at))
