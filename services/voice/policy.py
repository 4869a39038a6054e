"""Who gets one of the provider's few places for a voice, and who makes room for whom.

A provider sells two scarce things: places that voices are kept in, and *adds*, the voices that may be
made in one billing cycle; a deleted voice gives back its place, never its add. So the figure of merit
is performances spoken by a clone for each add spent. docs/pool.md tells what this reaches.

Moments are seconds since any fixed one, spans are seconds, rates are performances a day.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

DAY: Final = 86400.0
# Gains that demand is counted by: two levels an octave, from 1/64 to 256 performances a day.
LEVELS: Final = tuple(math.exp2(step / 2) for step in range(-12, 17))
NEVER: Final = -math.inf


class UnknownPolicy(ValueError):
    """No policy has this name."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How often one user performs, as far as it was seen."""

    # Every performance ever.
    performs: int = 0
    # Performances as of `last`, each halved in weight with every half-life since.
    recent: float = 0.0
    last: float = NEVER
    # When a clone was last made for the user.
    cloned: float = NEVER


@dataclass(frozen=True, slots=True)
class Place:
    """A voice that is at the provider."""

    user_id: str
    habit: Habit
    # Somebody performs in it right now.
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of this billing cycle; `adds` is None when the plan does not limit them."""

    adds: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Demand:
    """Who asked for a place lately: users by what they would gain, halved with every half-life.

    counts[0] is gains below LEVELS[0], counts[i] those from LEVELS[i - 1] up.
    """

    counts: tuple[float, ...] = (0.0,) * (len(LEVELS) + 1)
    at: float = NEVER
    since: float = NEVER


@dataclass(frozen=True, slots=True)
class Scarcity:
    """What there is and who wants it, as of `now`."""

    demand: Demand
    budget: Budget
    now: float


class Ruling(StrEnum):
    """Why a user gets a place, or does not."""

    ADMITTED = "admitted"
    ADDS_SPENT = "adds_spent"
    ALL_PLACES_HELD = "all_places_held"
    COOLING_DOWN = "cooling_down"
    NOT_WORTH_AN_ADD = "not_worth_an_add"


@dataclass(frozen=True, slots=True)
class Decision:
    ruling: Ruling
    # Whose voice is deleted first; None when a place is free, or nobody is admitted.
    victim: str | None = None

    @property
    def admitted(self) -> bool:
        return self.ruling is Ruling.ADMITTED


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator may set. The defaults were chosen on the training seeds of bench/pool."""

    # Nobody's voice is taken away this soon after they performed: the next performance is near.
    protect_seconds: float = 30 * 60
    # While adds are short, a user who was given one waits this long for the next.
    cooldown_seconds: float = DAY / 2
    # Performances closer together than this belong to one sitting.
    sitting_seconds: float = 3600.0
    # What a further performance of a sitting counts, when its first counts 1: it says little of next week.
    further_share: float = 0.1
    half_life_seconds: float = 7 * DAY
    demand_half_life_seconds: float = 3 * DAY
    # Adds are spent this much faster than evenly: a voice that comes early serves longer.
    haste: float = 2.0
    # What was asked for in a time is expected for no more than this many times as long: a user who was
    # given a place asks no more, so demand falls while users are new.
    foresight: float = 1.5

    def __post_init__(self) -> None:
        for name in ("half_life_seconds", "demand_half_life_seconds", "haste", "foresight"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        if not 0 <= self.further_share <= 1:
            raise ValueError("further_share must be between 0 and 1")


class Policy(Protocol):
    """An opinion on worth. What must hold whatever the opinion is in `decide`."""

    @property
    def name(self) -> str: ...

    @property
    def rules(self) -> Rules: ...

    def worth(self, habit: Habit) -> float:
        """Who is worth least goes first. Changes only with the habit, so that an index can be kept by it."""

    def gain(self, candidate: Habit, victim: Habit | None, now: float) -> float:
        """What the exchange is worth: performances a day, in the eyes of this policy."""

    def price(self, scarcity: Scarcity) -> float:
        """The gain that an add must bring now; minus infinity when adds are not short."""


@dataclass(frozen=True, slots=True)
class DecayedRate:
    """Keeps who performs most often of late, and spends an add only where it brings enough.

    Enough is what the best of those who ask bring, as many of them as the adds left can serve in the
    time left. So it rises as adds run short, falls as time does, and is nothing while adds suffice.
    """

    rules: Rules = field(default_factory=Rules)
    name: str = "decayed_rate"

    def worth(self, habit: Habit) -> float:
        """The logarithm of the decayed count, as of moment 0: all counts decay alike, so order stays."""
        if habit.recent <= 0:
            return NEVER
        return math.log2(habit.recent) + habit.last / self.rules.half_life_seconds

    def gain(self, candidate: Habit, victim: Habit | None, now: float) -> float:
        gained = rate(candidate, self.rules, now)
        return gained if victim is None else gained - rate(victim, self.rules, now)

    def price(self, scarcity: Scarcity) -> float:
        return _price(scarcity, self.rules)


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Spends adds while there are any: for comparison, and for plans that do not limit them."""

    name: str
    rules: Rules
    worth_of: Callable[[Habit], float]

    def worth(self, habit: Habit) -> float:
        return self.worth_of(habit)

    def gain(self, candidate: Habit, victim: Habit | None, now: float) -> float:
        return 0.0

    def price(self, scarcity: Scarcity) -> float:
        return NEVER


def least_recent(rules: Rules) -> Policy:
    """LRU."""
    return Unpriced("lru", rules, lambda habit: habit.last)


def least_frequent(rules: Rules) -> Policy:
    """LFU, which counts every performance ever and so is slow to forget who left."""
    return Unpriced("lfu", rules, lambda habit: float(habit.performs))


POLICIES: Final[Mapping[str, Callable[[Rules], Policy]]] = MappingProxyType(
    {"decayed_rate": DecayedRate, "lru": least_recent, "lfu": least_frequent}
)


def policy_named(name: str, rules: Rules | None = None) -> Policy:
    """Raises UnknownPolicy."""
    if name not in POLICIES:
        raise UnknownPolicy(f"no slot policy {name!r}; there are {', '.join(POLICIES)}")
    return POLICIES[name](rules or Rules())


def performed(habit: Habit, rules: Rules, now: float) -> Habit:
    """The habit after one more performance. A clock that went back is taken to have stood still."""
    silence = max(now - habit.last, 0.0)
    counted = 1.0 if silence > rules.sitting_seconds else rules.further_share
    kept = habit.recent * math.exp2(-silence / rules.half_life_seconds)
    return Habit(habit.performs + 1, kept + counted, max(now, habit.last), habit.cloned)


def cloned(habit: Habit, now: float) -> Habit:
    """The habit after an add was spent on the user."""
    return replace(habit, cloned=now)


def rate(habit: Habit, rules: Rules, now: float) -> float:
    """Performances a day, of late: the decayed count over the mean life of a count."""
    if habit.recent <= 0:
        return 0.0
    kept = habit.recent * math.exp2(-max(now - habit.last, 0.0) / rules.half_life_seconds)
    return kept * math.log(2) * DAY / rules.half_life_seconds


def asked(demand: Demand, gain: float, rules: Rules, now: float) -> Demand:
    """The demand after one more user asked for a place who has none. Count a sitting once."""
    if demand.at == NEVER:
        demand = replace(demand, at=now, since=now)
    now = max(now, demand.at)
    left = math.exp2(-(now - demand.at) / rules.demand_half_life_seconds)
    counts = [count * left for count in demand.counts]
    counts[_level(gain)] += 1
    return Demand(tuple(counts), now, demand.since)


def victim_of(policy: Policy, places: Iterable[Place], now: float) -> Place | None:
    """Who makes room: the one worth least of those who do not, and did not just, perform."""
    free = (place for place in places if not place.pinned and not protected(place.habit, policy.rules, now))
    return min(free, key=lambda place: (policy.worth(place.habit), place.user_id), default=None)


def protected(habit: Habit, rules: Rules, now: float) -> bool:
    return now - habit.last < rules.protect_seconds


def ruling(policy: Policy, candidate: Habit, victim: Habit | None, scarcity: Scarcity) -> Ruling:
    """Is the candidate worth an add, and the victim's place if there is one?"""
    adds, now = scarcity.budget.adds, scarcity.now
    if adds is not None and adds <= 0:
        return Ruling.ADDS_SPENT
    price = policy.price(scarcity)
    if price == NEVER:
        return Ruling.ADMITTED
    if now - candidate.cloned < policy.rules.cooldown_seconds:
        return Ruling.COOLING_DOWN
    if policy.gain(candidate, victim, now) < price:
        return Ruling.NOT_WORTH_AN_ADD
    return Ruling.ADMITTED


def decide(
    policy: Policy, candidate: Habit, places: Iterable[Place], capacity: int, scarcity: Scarcity
) -> Decision:
    """Does a user without a place get one, and whose? `places` are all voices at the provider."""
    taken = list(places)
    if len(taken) < capacity:
        return Decision(ruling(policy, candidate, None, scarcity))
    victim = victim_of(policy, taken, scarcity.now)
    if victim is None:
        return Decision(Ruling.ALL_PLACES_HELD)
    ruled = ruling(policy, candidate, victim.habit, scarcity)
    return Decision(ruled, victim.user_id if ruled is Ruling.ADMITTED else None)


def _level(gain: float) -> int:
    if gain < LEVELS[0]:
        return 0
    return min(int(math.log2(gain / LEVELS[0]) * 2 + 1e-9) + 1, len(LEVELS))


def _price(scarcity: Scarcity, rules: Rules) -> float:
    """The gain above which no more users ask for a place than there are adds for."""
    demand, adds, now = scarcity.demand, scarcity.budget.adds, scarcity.now
    if adds is None or demand.at == NEVER:
        return NEVER
    seconds = max(scarcity.budget.seconds, 1.0)
    age = max(now - demand.since, DAY)  # Less than a day says nothing about a day.
    mean_life = rules.demand_half_life_seconds / math.log(2)
    window = mean_life * (1 - math.exp2(-age / rules.demand_half_life_seconds))
    a_second = math.exp2(-max(now - demand.at, 0.0) / rules.demand_half_life_seconds) / window
    if sum(demand.counts) * a_second * min(seconds, rules.foresight * age) <= adds:
        return NEVER
    left = rules.haste * adds / seconds / a_second
    for level in range(len(LEVELS), 0, -1):
        count = demand.counts[level]
        if count > left:
            # Part of this level can be afforded: its upper part.
            return LEVELS[level - 1] * math.exp2((1 - left / count) / 2)
        left -= count
    return LEVELS[0]
