"""What is to be put right between the provider, the places and the documents: a pure comparison.

Each thing was read at another moment, while others went on. So a voice is given up only on grounds that
stay true whatever happened in between, and the rest is left to the next pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.voice.domain import Voice
from services.voice.ports import HeldVoice
from services.voice.slots import Ledger, Slot, SlotState


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read, in this order: ledger, documents, the provider's list, documents again."""

    ledger: Ledger
    before: Mapping[str, Voice]
    held: Sequence[HeldVoice]
    after: Mapping[str, Voice]


@dataclass(frozen=True, slots=True)
class Missing:
    """The provider no longer has the voice that the document names."""

    user_id: str
    engine_voice_id: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A voice of ours that no document names is to go, and its place with it."""

    slot: Slot
    # Nobody had wanted it removed before: it was not known that it exists.
    orphan: bool


@dataclass(frozen=True, slots=True)
class Adoption:
    """The answer to this add was lost; its voice is there, and its user still wants it."""

    slot: Slot
    engine_voice_id: str


@dataclass(frozen=True, slots=True)
class Release:
    """The place of an add that never took effect."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Holding:
    """A voice that its document names has no place, or one that does not say so."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Renaming:
    engine_voice_id: str


Action = Missing | Removal | Adoption | Release | Holding | Renaming


@dataclass(frozen=True, slots=True)
class Difference:
    actions: tuple[Action, ...]
    # What only time will tell: adds without an answer, and voices that somebody may be speaking in.
    waiting: int
    # Voices that are not ours.
    foreign: int


def compare(seen: Seen, provider: str, now: datetime, unknown: timedelta, *, rename: bool) -> Difference:
    """What differs, and what is to be done about each; what needs no more than it has comes first.

    `unknown` is how long an add without an answer, that is not in the list, may still take effect.
    """
    comparison = _Comparison(seen, provider, now, unknown)
    actions = [
        *comparison.missing(),
        *(found for held in seen.held if (found := comparison.unowned(held))),
        *(found for slot in seen.ledger.slots if (found := comparison.absent(slot))),
        *(found for held in seen.held if (found := comparison.owned(held))),
    ]
    if rename:
        actions += comparison.misnamed()
    foreign = sum(not comparison.is_ours(held) for held in seen.held)
    return Difference(tuple(actions), comparison.waiting, foreign)


class _Comparison:
    def __init__(self, seen: Seen, provider: str, now: datetime, unknown: timedelta) -> None:
        self._seen, self._provider, self._now, self._unknown = seen, provider, now, unknown
        self._listed = {held.engine_voice_id for held in seen.held}
        self._labelled = {held.attempt_id for held in seen.held}
        self._slots = {slot.engine_voice_id: slot for slot in seen.ledger.slots if slot.engine_voice_id}
        self._owners = {named: voice for voice in seen.after.values() if (named := self._named_by(voice))}
        self._leaving = {
            left.engine_voice_id
            for voice in seen.after.values()
            for left in voice.leftovers
            if left.provider == provider
        }
        self._under_way = {
            voice.attempt.attempt_id
            for voice in seen.after.values()
            if voice.attempt and voice.is_claimed(now)
        }
        # Performances that were begun before may still speak in these.
        self._spoken_in = {
            left.engine_voice_id
            for voice in seen.after.values()
            for left in voice.leftovers
            if left.must_wait(now)
        }
        # Attempts whose voice is dealt with: another with the same label is a copy that somebody made.
        self._settled = {voice.clone.clone_id for voice in self._owners.values() if voice.clone}
        self._adopting: set[str] = set()
        self.waiting = 0

    def is_ours(self, held: HeldVoice) -> bool:
        """By its labels, or because it is written down here."""
        known = (self._owners, self._slots, self._leaving)
        return bool(held.user_id and held.attempt_id) or any(held.engine_voice_id in each for each in known)

    def missing(self) -> Iterator[Action]:
        """Named before the list was read and after it, and not in it."""
        for engine_voice_id, voice in self._owners.items():
            if engine_voice_id not in self._listed and self._was_named(voice):
                yield Missing(voice.user_id, engine_voice_id)

    def unowned(self, held: HeldVoice) -> Action | None:
        """No document names it; made before the list was read, it can gain an owner by adoption only."""
        if held.engine_voice_id in self._owners or not self.is_ours(held):
            return None
        if held.engine_voice_id in self._spoken_in:
            self.waiting += 1
            return None
        slot = self._slot_of(held)
        wanted_gone = held.engine_voice_id in self._leaving or slot.state is SlotState.LEAVING
        if held.attempt_id in self._under_way and not wanted_gone:
            return None
        if slot.state is SlotState.ADDING and (user := self._wanting(slot)):
            if user.is_claimed(self._now):
                # What is being made for the user may not be made: then this is still wanted.
                self.waiting += 1
                return None
            self._adopting.add(slot.user_id)
            self._settled.add(slot.attempt_id)
            return Adoption(slot, held.engine_voice_id)
        self._settled.add(slot.attempt_id)
        leaving = replace(
            slot, state=SlotState.LEAVING, since=self._now, engine_voice_id=held.engine_voice_id
        )
        return Removal(leaving, orphan=not wanted_gone)

    def absent(self, slot: Slot) -> Action | None:
        """A place whose voice is not in the list."""
        named = slot.engine_voice_id
        if named in self._listed if named else slot.attempt_id in self._labelled | self._under_way:
            return None
        if slot.attempt_id in self._settled:
            return None  # Missing, or made after the list was read.
        if named and named not in self._spoken_in:
            # Asked once more: a list may be older than it looks, and removing who is gone is no trouble.
            return Removal(replace(slot, state=SlotState.LEAVING, since=self._now), orphan=False)
        if not named and self._now - slot.since >= self._unknown:
            return Release(slot)
        self.waiting += 1
        return None

    def owned(self, held: HeldVoice) -> Action | None:
        """A voice that its document names must be seen in its place."""
        voice = self._owners.get(held.engine_voice_id)
        if voice is None or voice.clone is None or not self._was_named(voice):
            return None
        slot = self._seen.ledger.of(voice.clone.clone_id)
        if slot and slot.state is SlotState.HELD and slot.engine_voice_id == held.engine_voice_id:
            return None
        made_of = voice.sample.hash if voice.sample else ""
        found = held.engine_voice_id
        return Holding(Slot(voice.clone.clone_id, voice.user_id, made_of, SlotState.HELD, self._now, found))

    def misnamed(self) -> Iterator[Action]:
        for held in self._seen.held:
            if held.engine_voice_id in self._owners and held.name != held.engine_voice_id:
                yield Renaming(held.engine_voice_id)

    def _named_by(self, voice: Voice) -> str:
        """The voice at this provider that the document names; empty when there is none."""
        clone = voice.clone
        return clone.engine_voice_id if clone and clone.provider == self._provider else ""

    def _was_named(self, voice: Voice) -> bool:
        """The document named the same voice before the list was read."""
        earlier = self._seen.before.get(voice.user_id)
        return earlier is not None and self._named_by(earlier) == self._named_by(voice)

    def _slot_of(self, held: HeldVoice) -> Slot:
        """The place that it is in, or one that it ought to have."""
        if slot := self._slots.get(held.engine_voice_id):
            return slot
        slot = self._seen.ledger.of(held.attempt_id)
        if slot and not slot.engine_voice_id and slot.attempt_id not in self._settled:
            return slot
        known = not held.attempt_id or slot is not None or held.attempt_id in self._settled
        own_id = held.engine_voice_id if known else held.attempt_id
        return Slot(own_id, held.user_id, "", SlotState.HELD, self._now, held.engine_voice_id)

    def _wanting(self, slot: Slot) -> Voice | None:
        """The user, who still has that sample and no voice at the provider."""
        voice = self._seen.after.get(slot.user_id)
        if voice is None or voice.sample is None or slot.user_id in self._adopting:
            return None
        wanting = voice.sample.hash == slot.sample_hash and not self._named_by(voice)
        return voice if wanting else None
