"""Replays a load through a slot policy of the voice service, over one billing cycle."""

import heapq
from dataclasses import dataclass

from bench.pool.loads import Load
from services.voice.policy import (
    Budget,
    Decision,
    Demand,
    Habit,
    Policy,
    Ruling,
    Scarcity,
    asked,
    cloned,
    performed,
    protected,
    ruling,
)

UNSEEN = Habit()


@dataclass(frozen=True, slots=True)
class Outcome:
    policy: str
    performs: int
    served: int
    clones: int

    @property
    def share(self) -> float:
        return self.served / self.performs if self.performs else 1.0

    @property
    def served_per_clone(self) -> float:
        return self.served / self.clones if self.clones else 0.0


class Pool:
    """The places, indexed by worth. Worth only rises with performances, so a stale entry is too low."""

    def __init__(self, policy: Policy, slots: int, adds: int | None, seconds: float) -> None:
        self.policy, self.slots, self.adds, self.seconds = policy, slots, adds, seconds
        self.habits: dict[int, Habit] = {}
        self.held: set[int] = set()
        self.clones = 0
        self.demand = Demand()
        self._index: list[tuple[float, int]] = []

    def perform(self, user: int, now: float) -> Decision | None:
        """None when the user has a place; else what was decided, and done."""
        before = self.habits.get(user, UNSEEN)
        habit = self.habits[user] = performed(before, self.policy.rules, now)
        if user in self.held:
            return None
        adds = None if self.adds is None else self.adds - self.clones
        if adds == 0:
            return Decision(Ruling.ADDS_SPENT)
        victim = None
        if len(self.held) >= self.slots:
            victim = self._victim(now)
            if victim is None:
                return Decision(Ruling.ALL_PLACES_HELD)
        place = None if victim is None else self.habits[victim]
        if now - before.last > self.policy.rules.sitting_seconds:
            self.demand = asked(self.demand, self.policy.gain(habit, place, now), self.policy.rules, now)
        scarcity = Scarcity(self.demand, Budget(adds, self.seconds - now), now)
        ruled = ruling(self.policy, habit, place, scarcity)
        if ruled is not Ruling.ADMITTED:
            return Decision(ruled)
        self._exchange(victim, user, now)
        return Decision(ruled, None if victim is None else str(victim))

    def _exchange(self, victim: int | None, user: int, now: float) -> None:
        if victim is not None:
            self.held.remove(victim)
        self.held.add(user)
        self.clones += 1
        self.habits[user] = cloned(self.habits[user], now)
        heapq.heappush(self._index, (self.policy.worth(self.habits[user]), user))

    def _victim(self, now: float) -> int | None:
        """The place worth least of those not protected. Entries of users who left are dropped on the way."""
        index, aside, found = self._index, [], None
        while index and found is None:
            worth, user = index[0]
            current = self.policy.worth(self.habits[user])
            if user not in self.held:
                heapq.heappop(index)
            elif current > worth:
                heapq.heapreplace(index, (current, user))
            elif protected(self.habits[user], self.policy.rules, now):
                aside.append(heapq.heappop(index))
            else:
                found = user
        for entry in aside:
            heapq.heappush(index, entry)
        return found


def replay(load: Load, policy: Policy, slots: int, adds: int | None) -> Outcome:
    pool = Pool(policy, slots, adds, load.seconds)
    perform = pool.perform
    served = 0
    for now, user in load.performs():
        decision = perform(user, now)
        served += decision is None or decision.admitted
    return Outcome(policy.name, len(load.times), served, pool.clones)
