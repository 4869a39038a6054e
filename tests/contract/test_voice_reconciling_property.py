"""Whatever is found: nobody's voice is taken away, and one pass in calm leaves nothing to do."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.voice.comparing import (
    Action,
    Adoption,
    Holding,
    Missing,
    Release,
    Removal,
    Renaming,
    Seen,
    compare,
)
from services.voice.domain import Attempt, Clone, Consent, Leftover, Sample, SealedBlob, Voice
from services.voice.ports import HeldVoice
from services.voice.slots import Ledger, Slot, SlotState

pytestmark = pytest.mark.slow

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
UNKNOWN = timedelta(minutes=2)
HERE = "elevenlabs"

# An attempt is of one user, and makes one voice; its id goes with that voice, unless somebody meddles.
USER = {"a1": "u1", "a2": "u1", "a3": "u1", "a4": "u2", "a5": "u2"}
COPIES = ("copy1", "copy2")

attempts = st.sampled_from(list(USER))
hashes = st.sampled_from(["h1", "h2"])
moments = st.sampled_from([NOW - timedelta(hours=1), NOW - timedelta(seconds=1), NOW + timedelta(minutes=1)])


def made_by(attempt_id: str) -> str:
    return f"voice-of-{attempt_id}"


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    state, attempt_id = draw(st.sampled_from(SlotState)), draw(attempts)
    named = "" if state is SlotState.ADDING else made_by(attempt_id)
    return Slot(attempt_id, USER[attempt_id], draw(hashes), state, min(NOW, draw(moments)), named)


@st.composite
def voices(draw: st.DrawFn, user_id: str) -> Voice:
    """Each attempt is under way, or has made the clone, or is over."""
    own = draw(st.permutations([each for each, user in USER.items() if user == user_id]))
    sample = Sample(
        draw(hashes), 36.0, 9, True, SealedBlob("samples/x", "k"), Consent("I agree.", NOW, "test")
    )
    clone, attempt = None, None
    left: tuple[Leftover, ...] = ()
    if draw(st.booleans()):
        provider = draw(st.sampled_from([HERE, HERE, "local"]))
        named = made_by(own[0]) if provider == HERE else own[0]
        source = "provider_voice_id"
        clone = Clone(own[0], provider, provider, named, source, provider == HERE, None, NOW)
    if draw(st.booleans()):
        attempt = Attempt(own[1], HERE, draw(moments), draw(hashes))
    if draw(st.booleans()):
        not_before = draw(st.none() | moments)
        left = (Leftover((), HERE, made_by(own[-1]), attempt_id=own[-1], not_before=not_before),)
        if attempt and attempt.attempt_id == own[-1]:
            attempt = None
    has = draw(st.none() | st.just(sample))
    return Voice(user_id, 1, 1, has, clone, attempt=attempt, leftovers=left)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Voice]:
    return {user_id: draw(voices(user_id)) for user_id in draw(st.sets(st.sampled_from(["u1", "u2"])))}


@st.composite
def listed(draw: st.DrawFn) -> HeldVoice:
    """As we made it, without its labels, or a copy that somebody made."""
    attempt_id = draw(attempts)
    named = draw(st.sampled_from([made_by(attempt_id), made_by(attempt_id), *COPIES]))
    if draw(st.integers(0, 4)) == 0:
        return HeldVoice(named, "a name", "", draw(st.sampled_from(["", attempt_id])), None)
    return HeldVoice(named, "a name", USER[attempt_id], attempt_id, None)


@dataclass(frozen=True)
class World:
    slots: tuple[Slot, ...]
    held: tuple[HeldVoice, ...]
    documents: dict[str, Voice]

    def seen(self) -> Seen:
        return Seen(Ledger(self.slots), self.documents, self.held, self.documents)

    def after(self, action: Action) -> "World":
        """As `righting` leaves it when nothing gets in between."""
        match action:
            case Missing():
                voice = self.documents[action.user_id]
                assert voice.clone is not None
                return self._with(replace(voice, clone=None))._without_slot(voice.clone.clone_id)
            case Removal():
                there = tuple(
                    each for each in self.held if each.engine_voice_id != action.slot.engine_voice_id
                )
                return replace(self, held=there)._disowned(action.slot)._without_slot(action.slot.attempt_id)
            case Release():
                return self._disowned(action.slot)._without_slot(action.slot.attempt_id)
            case Adoption():
                slot, voice = action.slot, self.documents[action.slot.user_id]
                clone = Clone(
                    slot.attempt_id, HERE, HERE, action.engine_voice_id, "provider_voice_id", True, None, NOW
                )
                made = self._with(voice.abandoned(NOW).regained(clone, NOW))
                return made.after(
                    Holding(replace(slot, state=SlotState.HELD, engine_voice_id=action.engine_voice_id))
                )
            case Holding():
                rest = self._without_slot(action.slot.attempt_id)
                return replace(rest, slots=(*rest.slots, action.slot))
            case Renaming():
                return self

    def _with(self, voice: Voice) -> "World":
        return replace(self, documents={**self.documents, voice.user_id: voice})

    def _without_slot(self, attempt_id: str) -> "World":
        return replace(self, slots=tuple(slot for slot in self.slots if slot.attempt_id != attempt_id))

    def _disowned(self, slot: Slot) -> "World":
        voice = self.documents.get(slot.user_id)
        if voice and voice.is_claimed_by(slot.attempt_id):
            return self._with(voice.abandoned(NOW))
        return self


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """An attempt whose place has the voice's name is over."""
    places = draw(st.lists(slots(), max_size=5, unique_by=lambda slot: slot.attempt_id))
    voices_listed = draw(st.lists(listed(), max_size=5, unique_by=lambda voice: voice.engine_voice_id))
    over = {slot.attempt_id for slot in places if slot.engine_voice_id}
    known = {
        user_id: replace(voice, attempt=None) if voice.attempt and voice.attempt.attempt_id in over else voice
        for user_id, voice in draw(documents()).items()
    }
    return World(tuple(places), tuple(voices_listed), known)


def actions_in(seen: Seen) -> tuple[Action, ...]:
    return compare(seen, HERE, NOW, UNKNOWN, rename=False).actions


@given(world=worlds(), before=documents())
@settings(max_examples=100, deadline=None)
def test_no_voice_is_taken_from_who_has_it_and_no_add_from_who_waits_for_it(
    world: World, before: dict[str, Voice]
) -> None:
    seen = replace(world.seen(), before=before)
    named = {
        voice.clone.engine_voice_id
        for voice in world.documents.values()
        if voice.clone and voice.clone.provider == HERE
    }
    waited_for = {
        voice.attempt.attempt_id
        for voice in world.documents.values()
        if voice.attempt and voice.is_claimed(NOW)
    }
    spoken_in = {
        left.engine_voice_id
        for voice in world.documents.values()
        for left in voice.leftovers
        if left.must_wait(NOW)
    }
    for action in actions_in(seen):
        if isinstance(action, Removal):
            assert action.slot.engine_voice_id not in named
            assert action.slot.engine_voice_id not in spoken_in
            assert not (action.orphan and action.slot.attempt_id in waited_for)
        if isinstance(action, Release):
            assert action.slot.attempt_id not in waited_for


@given(world=worlds())
@settings(max_examples=100, deadline=None)
def test_voices_of_others_are_left_alone(world: World) -> None:
    known = {slot.engine_voice_id for slot in world.slots} | {
        name
        for voice in world.documents.values()
        for name in (
            *(left.engine_voice_id for left in voice.leftovers),
            voice.clone.engine_voice_id if voice.clone and voice.clone.provider == HERE else "",
        )
    }
    others = {each.engine_voice_id for each in world.held if not (each.user_id and each.attempt_id)} - known
    touched = {
        action.slot.engine_voice_id
        for action in actions_in(world.seen())
        if isinstance(action, Removal | Holding)
    }
    assert not touched & others


@given(world=worlds())
@settings(max_examples=100, deadline=None)
def test_each_place_and_each_user_is_dealt_with_once(world: World) -> None:
    actions = actions_in(world.seen())
    places = [
        action.slot.attempt_id
        for action in actions
        if isinstance(action, Removal | Release | Adoption | Holding)
    ]
    assert len(places) == len(set(places))
    adopted = [action.slot.user_id for action in actions if isinstance(action, Adoption)]
    assert len(adopted) == len(set(adopted))


@given(world=worlds())
@settings(max_examples=200, deadline=None)
def test_one_pass_in_calm_leaves_nothing_to_do(world: World) -> None:
    for action in actions_in(world.seen()):
        world = world.after(action)
    assert actions_in(world.seen()) == ()
