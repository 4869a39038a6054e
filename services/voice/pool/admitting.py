"""Who is given a place at the provider: asks the policy, and does what it says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from services.voice.domain import Clone, PinsUnavailable, Voice
from services.voice.policy import (
    DAY,
    Budget,
    Habit,
    Place,
    Policy,
    Ruling,
    Scarcity,
    decide,
    ruling,
    victim_of,
)
from services.voice.pool.allowances import Allowances
from services.voice.pool.evicting import REPLACED, ROOM, Evicting, Eviction, Records
from services.voice.slots import Ledger, Slot, SlotState

log = structlog.get_logger()

ADMISSIONS = Counter("voice_pool_admissions_total", "Users who were given a place.", ["how"])
REFUSALS = Counter("voice_pool_refusals_total", "Users who were given none, by why.", ["ruling"])
PINNED = Gauge("voice_pool_pinned_voices", "Voices that performances speak in, as of the last decision.")

# Whoever loses a race against other replicas decides again.
_TRIES: Final = 3
_CYCLE_SECONDS: Final = 30 * DAY
_MOST_WAITING_SECONDS: Final = 3600


class Closed(StrEnum):
    """Why nobody is given a place, before the policy is asked."""

    # An add for the same sample has no known outcome: another would be a second voice of the same user.
    OUTCOME_UNKNOWN = "outcome_unknown"
    # The provider, or who performs how often, cannot be asked.
    UNAVAILABLE = "unavailable"


_RETRY_AFTER: Final[Mapping[str, int]] = {
    Ruling.ALL_PLACES_HELD: 60,
    Ruling.NOT_WORTH_AN_ADD: _MOST_WAITING_SECONDS,
    Closed.OUTCOME_UNKNOWN: 60,
    Closed.UNAVAILABLE: 5,
}


@dataclass(frozen=True, slots=True)
class Admission:
    ruling: str
    retry_after_seconds: int = 0
    # Whose voice makes room; None when a place is free.
    victim: str | None = None

    @property
    def admitted(self) -> bool:
        return self.ruling == Ruling.ADMITTED


class Admitting:
    def __init__(
        self,
        records: Records,
        allowances: Allowances,
        evicting: Evicting,
        policy: Policy,
        clock: Callable[[], datetime],
    ) -> None:
        self._provider = evicting.provider.name
        self._slots = records.slots
        self._pins = records.pins
        self._habits = records.habits
        self._allowances = allowances
        self._evicting = evicting
        self._policy = policy
        self._clock = clock
        self._closed_until: datetime | None = None

    def close_for(self, seconds: float) -> None:
        """Refuse everybody for this long: the provider does not answer, and evicting a voice would gain
        nothing."""
        self._closed_until = self._clock() + timedelta(seconds=seconds)

    async def consider(self, user_id: str, sample_hash: str) -> Admission:
        """Would the user be given a place now? Takes none."""
        return _counted_refusal(await self._decided(user_id, sample_hash, None, frozenset()))

    async def admit(self, claimed: Voice) -> Admission:
        """Take a place and an add for the attempt that is under way: another's, if the policy says so.

        A user who changes a voice that is at the provider takes a free place, or the own one, whose voice
        is removed first.
        """
        attempt = claimed.claim
        made_of, now = attempt.sample_hash, self._clock()
        slot = Slot(attempt.attempt_id, claimed.user_id, made_of, SlotState.ADDING, now)
        clone = claimed.clone
        own = clone if clone and clone.provider == self._provider else None
        spared: set[str] = set()
        for _ in range(_TRIES):
            admission = await self._decided(claimed.user_id, made_of, own, frozenset(spared))
            if not admission.admitted:
                return _counted_refusal(admission)
            taken = await self._taken(slot, admission.victim)
            if isinstance(taken, Closed | Ruling):
                return _counted_refusal(Admission(taken, _RETRY_AFTER[taken]))
            if taken:
                ADMISSIONS.labels(taken).inc()
                log.info("voice_pool_acquired", attempt_id=slot.attempt_id, how=taken)
                return admission
            if admission.victim:
                spared.add(admission.victim)
        return _counted_refusal(_refused(Ruling.ALL_PLACES_HELD))

    async def _taken(self, slot: Slot, victim: str | None) -> str:
        """How; empty when somebody else was faster."""
        if victim is None:
            return "free" if await self._slots.take(slot) else ""
        own = victim == slot.user_id
        cause, mine = (REPLACED, slot.attempt_id) if own else (ROOM, "")
        eviction, emptied = await self._evicting.empty(victim, cause, mine=mine)
        if eviction in (Eviction.UNCONFIRMED, Eviction.KEPT):
            return Closed.UNAVAILABLE
        if eviction is not Eviction.REMOVED:
            return Ruling.ALL_PLACES_HELD if own else ""
        if await self._slots.take_over(emptied, slot):
            return "own" if own else "evicted"
        # No add is left, or the pool has shrunk.
        await self._slots.give_back(emptied, unspent=False)
        return ""

    async def _decided(
        self, user_id: str, sample_hash: str, own: Clone | None, spared: frozenset[str]
    ) -> Admission:
        now = self._clock()
        if self._closed_until and now < self._closed_until:
            return _refused(Closed.UNAVAILABLE)
        ledger = await self._allowances.ledger()
        if ledger.capacity is None:
            return _refused(Closed.UNAVAILABLE)
        if _has_unknown(ledger, user_id, sample_hash):
            return _refused(Closed.OUTCOME_UNKNOWN)
        try:
            return await self._ruled(ledger, user_id, own, spared)
        except PinsUnavailable as error:
            log.warning("voice_pool_undecided", cause=str(error))
            return _refused(Closed.UNAVAILABLE)

    async def _ruled(
        self, ledger: Ledger, user_id: str, own: Clone | None, spared: frozenset[str]
    ) -> Admission:
        now, capacity = self._clock(), ledger.capacity or 0
        places, candidate = await self._places(ledger, user_id, spared)
        seconds = now.timestamp()
        if own is None:
            rival = victim_of(self._policy, places, seconds) if len(places) >= capacity else None
            gain = self._policy.gain(candidate, rival.habit if rival else None, seconds)
            await self._habits.asked(user_id, gain, seconds)
        left = (ledger.renewed_at - now).total_seconds() if ledger.renewed_at else _CYCLE_SECONDS
        scarcity = Scarcity(await self._habits.demand(), Budget(ledger.adds_left, left), seconds)
        if own is not None:
            ruled, victim = ruling(self._policy, candidate, None, scarcity), user_id
            found = Admission(ruled, victim=None if ledger.free else victim)
        else:
            decision = decide(self._policy, candidate, places, capacity, scarcity)
            found = Admission(decision.ruling, victim=decision.victim)
        return (
            found if found.admitted else _refused(found.ruling, self._waiting(found.ruling, candidate, left))
        )

    async def _places(
        self, ledger: Ledger, user_id: str, spared: frozenset[str]
    ) -> tuple[Sequence[Place], Habit]:
        """All places that are taken, and the habit of who asks."""
        users = list({slot.user_id for slot in ledger.slots})
        pinned = await self._pins.pinned_among(users, self._clock())
        PINNED.set(len(pinned))
        habits = await self._habits.of([user_id, *users])
        kept = pinned | spared | {user_id}
        places = [
            # Only a voice whose user's document names it can be taken away.
            Place(
                slot.user_id, habits[slot.user_id], slot.user_id in kept or slot.state is not SlotState.HELD
            )
            for slot in ledger.slots
        ]
        return places, habits[user_id]

    def _waiting(self, ruled: str, candidate: Habit, cycle_seconds: float) -> int:
        """When asking again may help."""
        if ruled == Ruling.ADDS_SPENT:
            return _bounded(cycle_seconds)
        if ruled == Ruling.COOLING_DOWN:
            cooled = candidate.cloned + self._policy.rules.cooldown_seconds
            return _bounded(cooled - self._clock().timestamp())
        return _RETRY_AFTER[ruled]


def _has_unknown(ledger: Ledger, user_id: str, sample_hash: str) -> bool:
    return any(
        slot.user_id == user_id and slot.sample_hash == sample_hash and slot.state is SlotState.ADDING
        for slot in ledger.slots
    )


def _bounded(seconds: float) -> int:
    return min(max(ceil(seconds), 1), _MOST_WAITING_SECONDS)


def _refused(why: str, retry_after_seconds: int | None = None) -> Admission:
    return Admission(why, _RETRY_AFTER[why] if retry_after_seconds is None else retry_after_seconds)


def _counted_refusal(admission: Admission) -> Admission:
    if not admission.admitted:
        REFUSALS.labels(admission.ruling).inc()
        log.info("voice_pool_refused", ruling=admission.ruling)
    return admission
