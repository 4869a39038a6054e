"""The places for voices at a pooled provider: who has one, what is left, and how they change hands.

The provider is the truth about which voices exist; this is the truth about who may make one. A place is
taken before an add is sent, and given back only when it is certain that no voice is in it. So there are
never more voices than places, whoever dies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.voice.policy import Demand, Habit
from services.voice.ports import Allowance


class SlotState(StrEnum):
    # An add was sent, or is about to be; nobody knows the voice's name yet.
    ADDING = "adding"
    # The voice is at the provider, and its user's document names it.
    HELD = "held"
    # The voice is to be removed, or has been and the answer was lost.
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Slot:
    """One place that is taken. `attempt_id` is that of the add, and goes with the voice as a label."""

    attempt_id: str
    user_id: str
    sample_hash: str
    state: SlotState
    # When it came into this state.
    since: datetime
    # Empty while adding.
    engine_voice_id: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The pool of one provider as it is stored."""

    slots: tuple[Slot, ...] = ()
    # Places that we may fill, and adds in this cycle; None until the provider was asked.
    capacity: int | None = None
    # None also when the plan does not limit them.
    most_adds: int | None = None
    adds_spent: int = 0
    renewed_at: datetime | None = None
    # When the provider was last asked what it sells us.
    refreshed_at: datetime | None = None
    # When the last whole reconciliation ended, and what it could not put right.
    reconciled_at: datetime | None = None
    orphans: int = 0
    # Ever, for operators.
    creations: int = 0
    evictions: int = 0

    def of(self, attempt_id: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.attempt_id == attempt_id), None)

    @property
    def free(self) -> int:
        return max(0, (self.capacity or 0) - len(self.slots))

    @property
    def adds_left(self) -> int | None:
        """None when they are not limited."""
        return None if self.most_adds is None else max(0, self.most_adds - self.adds_spent)


class Slots(Protocol):
    """The places of one provider, shared by all replicas. Every change is one conditional update.

    Raises VoiceStoreUnavailable: then it may have happened or not, and every call is safe to repeat.
    """

    async def read(self) -> Ledger: ...

    async def take(self, slot: Slot) -> bool:
        """A free place and one add; False when either is lacking. True when it has it already."""

    async def take_over(self, leaving: str, slot: Slot) -> bool:
        """One add, and the place of the attempt `leaving`, whose voice is gone. False when that has no
        place any more, when no add is left, or when there are more slots than capacity: a place that it
        still has is then to be given back."""

    async def spend_add(self, now: datetime) -> bool:
        """One add without a place, for what is about to be asked for; False when none is left. Nothing gives
        it back, and repeating it spends another: one too many, until the provider has been asked again."""

    async def change(self, attempt_id: str, state: SlotState, now: datetime, engine_voice_id: str) -> bool:
        """False when it has no place. Counts an eviction when one that was held begins to leave, and a
        creation when one that was added has a name. An empty name keeps the one that is known."""

    async def give_back(self, attempt_id: str, *, unspent: bool) -> bool:
        """The place; and the add as well when it never took effect. False when it had no place."""

    async def restore(self, slot: Slot) -> None:
        """A voice was found at the provider that has no place here: it takes one, over capacity if it must,
        and spends nothing. Nothing changes when it has one."""

    async def refreshed(self, allowance: Allowance, foreign: int, ceiling: int | None, now: datetime) -> None:
        """What the provider sells us: capacity is its places less `foreign` voices, at most `ceiling`. Adds
        that are under way, or were spent in the seconds before `now`, may not be in the provider's count yet,
        and are counted on top. Nothing changes when a later answer is known."""

    async def begin_reconcile(self, holder: str, until: datetime, now: datetime) -> bool:
        """One at a time: False while another holder's time has not come. `holder` names one run; a run that
        has begun may ask for more time."""

    async def end_reconcile(self, holder: str, now: datetime, *, orphans: int, whole: bool) -> None:
        """`whole` when it was no dry run and reached its end. Nothing is kept from a run whose time another
        has taken over."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a voice stands among those at the provider, by last use; None when it is not there."""

    position: int | None
    size: int


@dataclass(frozen=True, slots=True)
class Reuse:
    """Leases ever, and those of them that found their voice at the provider."""

    leases: int
    reused: int


class Habits(Protocol):
    """Who performs how often, and who asks for a place. Losing it costs time, never truth.

    Moments are seconds since the epoch. Raises PinsUnavailable.
    """

    async def of(self, user_ids: Sequence[str]) -> Mapping[str, Habit]:
        """An empty habit for who was never seen."""

    async def performed(self, user_id: str, performance_id: str, now: float, *, reused: bool) -> Habit:
        """Counts one performance by the policy's rules, and its lease as one that found its voice at the
        provider or did not; the habit after it. Told again of the user's last one, it counts nothing."""

    async def cloned(self, user_id: str, now: float) -> None:
        """An add was spent on the user."""

    async def demand(self) -> Demand: ...

    async def asked(self, user_id: str, gain: float, now: float) -> None:
        """A user without a place asked for one; counted once a sitting."""

    async def reuse(self) -> Reuse: ...

    async def entered(self, user_id: str, now: float) -> None:
        """The user's voice is at the provider now, and was used."""

    async def touched(self, user_id: str, now: float) -> Standing:
        """Used again, if it is there; where it stands then."""

    async def left(self, user_id: str) -> None: ...

    async def forget(self, user_id: str) -> None:
        """Nothing tells that the user ever performed. Safe to repeat."""

    async def rebuild(self, held: Mapping[str, float]) -> None:
        """Who is at the provider, with the moment of last use where nothing better is known: others are
        forgotten, also after everything was lost."""
