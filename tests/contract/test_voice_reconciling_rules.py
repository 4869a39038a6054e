"""What differs between the provider, the places and the documents, and what is to be done about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from services.voice.comparing import (
    Action,
    Adoption,
    Difference,
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

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
UNKNOWN = timedelta(minutes=2)
LONG_AGO = NOW - timedelta(hours=1)
HERE, NAME = "elevenlabs", "v1"
SAMPLE = Sample("h1", 36.0, 9, True, SealedBlob("samples/a1", "k1"), Consent("I agree.", LONG_AGO, "test"))


def clone(attempt_id: str = "a1", engine_voice_id: str = NAME, provider: str = HERE) -> Clone:
    pooled = provider == HERE
    source = "provider_voice_id" if pooled else "local_clone"
    return Clone(attempt_id, provider, provider, engine_voice_id, source, pooled, None, LONG_AGO)


def voice(user_id: str = "u1", **more: object) -> Voice:
    return replace(Voice(user_id, 1, 1, SAMPLE), **more)  # type: ignore[arg-type]


def attempt(attempt_id: str = "a1", expires_at: datetime = NOW + timedelta(minutes=1)) -> Attempt:
    return Attempt(attempt_id, HERE, expires_at, "h1")


def slot(
    state: SlotState, attempt_id: str = "a1", engine_voice_id: str = "", since: datetime = LONG_AGO
) -> Slot:
    return Slot(attempt_id, "u1", "h1", state, since, engine_voice_id)


def listed(
    engine_voice_id: str = NAME, attempt_id: str = "a1", user_id: str = "u1", name: str = ""
) -> HeldVoice:
    return HeldVoice(engine_voice_id, name or engine_voice_id, user_id, attempt_id, LONG_AGO)


def told(
    slots: Sequence[Slot] = (),
    held: Sequence[HeldVoice] = (),
    after: Voice | None = None,
    before: Voice | None = None,
    rename: bool = False,
) -> Difference:
    """The documents before are those after, when nothing else is said."""
    documents = {after.user_id: after} if after else {}
    earlier = {before.user_id: before} if before else documents
    seen = Seen(Ledger(tuple(slots)), earlier, held, documents)
    return compare(seen, HERE, NOW, UNKNOWN, rename=rename)


def removal(orphan: bool, slot_id: str = "a1", engine_voice_id: str = NAME, made_of: str = "h1") -> Removal:
    return Removal(Slot(slot_id, "u1", made_of, SlotState.LEAVING, NOW, engine_voice_id), orphan)


ADDING, HELD, LEAVING = SlotState.ADDING, SlotState.HELD, SlotState.LEAVING
HOLDING = Holding(Slot("a1", "u1", "h1", HELD, NOW, NAME))
OTHER = replace(SAMPLE, hash="h2")
DEAD = attempt(expires_at=NOW)


@dataclass(frozen=True)
class Case:
    about: str
    does: Sequence[Action]
    slots: Sequence[Slot] = ()
    held: Sequence[HeldVoice] = ()
    after: Voice | None = None
    before: Voice | None = None
    waiting: int = 0


CASES = [
    Case("nothing anywhere", []),
    Case("all agree", [], [slot(HELD, "a1", NAME)], [listed()], voice(clone=clone())),
    # A voice that its document names.
    Case("it has no place", [HOLDING], [], [listed()], voice(clone=clone())),
    Case("its place still says adding", [HOLDING], [slot(ADDING)], [listed()], voice(clone=clone())),
    Case("its place says leaving", [HOLDING], [slot(LEAVING, "a1", NAME)], [listed()], voice(clone=clone())),
    Case(
        "named only since: who made it writes it down",
        [],
        [slot(ADDING)],
        [listed()],
        voice(clone=clone()),
        voice(attempt=attempt()),
    ),
    Case("its labels are gone", [], [slot(HELD, "a1", NAME)], [listed(NAME, "", "")], voice(clone=clone())),
    # An add whose answer was lost, and whose voice is there.
    Case("still wanted", [Adoption(slot(ADDING), NAME)], [slot(ADDING)], [listed()], voice()),
    Case("its attempt died", [Adoption(slot(ADDING), NAME)], [slot(ADDING)], [listed()], voice(attempt=DEAD)),
    Case(
        "another maker's clone stands by",
        [Adoption(slot(ADDING), NAME)],
        [slot(ADDING)],
        [listed()],
        voice(clone=clone("a0", "a0", "local")),
    ),
    Case("under way", [], [slot(ADDING)], [listed()], voice(attempt=attempt())),
    Case("under way, no place read yet", [], [], [listed()], voice(attempt=attempt())),
    Case(
        "another is being made, and may not be",
        [],
        [slot(ADDING)],
        [listed()],
        voice(attempt=attempt("a2")),
        waiting=1,
    ),
    Case(
        "another is being made, of another sample",
        [removal(True)],
        [slot(ADDING)],
        [listed()],
        voice(sample=OTHER, attempt=attempt("a2")),
    ),
    Case(
        "the embedded engine's was made instead, by the same attempt",
        [Adoption(slot(ADDING), NAME)],
        [slot(ADDING)],
        [listed()],
        voice(clone=clone("a1", "a1", "local")),
    ),
    Case(
        "the embedded engine's was made instead, and the other never came",
        [Release(slot(ADDING))],
        [slot(ADDING)],
        [],
        voice(clone=clone("a1", "a1", "local")),
    ),
    Case("another sample", [removal(True)], [slot(ADDING)], [listed()], voice(sample=OTHER)),
    Case("no user any more", [removal(True)], [slot(ADDING)], [listed()], None),
    Case(
        "the user has another",
        [removal(True)],
        [slot(ADDING), slot(HELD, "a2", "v2")],
        [listed(), listed("v2", "a2")],
        voice(clone=clone("a2", "v2")),
    ),
    Case(
        "two of the same user: one is enough",
        [Adoption(slot(ADDING), NAME), removal(True, "a2", "v2")],
        [slot(ADDING), slot(ADDING, "a2")],
        [listed(), listed("v2", "a2")],
        voice(),
    ),
    # An add whose answer was lost, and whose voice is not there.
    Case("it may still come", [], [slot(ADDING, since=NOW - timedelta(minutes=1))], [], voice(), waiting=1),
    Case("it never came", [Release(slot(ADDING))], [slot(ADDING)], [], voice()),
    Case("it never came, nor did its user", [Release(slot(ADDING))], [slot(ADDING)], [], None),
    Case("somebody waits for it", [], [slot(ADDING)], [], voice(attempt=attempt())),
    Case("who waited died", [Release(slot(ADDING))], [slot(ADDING)], [], voice(attempt=DEAD)),
    Case(
        "answered since the list was read",
        [],
        [slot(ADDING)],
        [],
        voice(clone=clone()),
        voice(attempt=attempt()),
    ),
    # A voice of ours that no document names.
    Case("no place, no owner", [removal(True, made_of="")], [], [listed()], voice()),
    Case("held by none", [removal(True)], [slot(HELD, "a1", NAME)], [listed()], voice()),
    Case("not ours", [], [], [listed("v9", "", "")], voice(clone=None)),
    Case("not ours, though a label looks alike", [], [], [listed("v9", "", "u1")], None),
    Case(
        "a copy of one that is held",
        [removal(True, "v2", "v2", "")],
        [slot(HELD, "a1", NAME)],
        [listed(), listed("v2")],
        voice(clone=clone()),
    ),
    Case(
        "a copy of one that is adopted",
        [Adoption(slot(ADDING), NAME), removal(True, "v2", "v2", "")],
        [slot(ADDING)],
        [listed(), listed("v2")],
        voice(),
    ),
    # A voice that the provider no longer has.
    Case("gone", [Missing("u1", NAME)], [slot(HELD, "a1", NAME)], [], voice(clone=clone())),
    Case("gone, never seen in its place", [Missing("u1", NAME)], [slot(ADDING)], [], voice(clone=clone())),
    Case("gone, without a place", [Missing("u1", NAME)], [], [], voice(clone=clone())),
    Case("made since the list was read", [], [slot(HELD, "a1", NAME)], [], voice(clone=clone()), voice()),
    Case("another maker's", [], [], [], voice(clone=clone("a1", NAME, "local"))),
    Case("gone, and named by none", [removal(False)], [slot(HELD, "a1", NAME)], [], voice()),
    # A voice that was to be removed.
    Case("still there", [removal(False)], [slot(LEAVING, "a1", NAME)], [listed()], voice()),
    Case("gone by now", [removal(False)], [slot(LEAVING, "a1", NAME)], [], voice()),
    Case("gone with its user", [removal(False)], [slot(LEAVING, "a1", NAME)], [], None),
    Case(
        "its document says so",
        [removal(False)],
        [slot(HELD, "a1", NAME)],
        [listed()],
        voice(leftovers=(Leftover((), HERE, NAME),)),
    ),
    Case(
        "somebody may be speaking in it",
        [],
        [slot(LEAVING, "a1", NAME)],
        [listed()],
        voice(leftovers=(Leftover((), HERE, NAME, not_before=NOW + timedelta(seconds=1)),)),
        waiting=1,
    ),
    Case(
        "its document says so, its labels are gone",
        [removal(False, NAME, NAME, "")],
        [],
        [HeldVoice(NAME, NAME, "", "", None)],
        voice(leftovers=(Leftover((), HERE, NAME),)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_each_difference_has_its_remedy(case: Case) -> None:
    found = told(case.slots, case.held, case.after, case.before)
    does = [_without_owner(action) if "labels are gone" in case.about else action for action in found.actions]
    assert does == list(case.does)
    assert found.waiting == case.waiting


def _without_owner(action: Action) -> Action:
    """Who it is of is not known without labels."""
    return replace(action, slot=replace(action.slot, user_id="u1")) if isinstance(action, Removal) else action


def test_names_cost_an_add_and_so_come_last() -> None:
    found = told(
        [slot(ADDING, "a3"), slot(LEAVING, "a4", "v4")],
        [listed(name="newvisions a1"), listed("v2", "a2"), listed("v4", "a4")],
        voice(clone=clone()),
        rename=True,
    )
    kinds = [type(action) for action in found.actions]
    assert kinds == [Removal, Removal, Release, Holding, Renaming]


def test_names_are_put_right_only_on_demand_and_only_of_voices_that_have_an_owner() -> None:
    held = [listed(name="newvisions a1"), listed("v9", "", "", "theirs")]
    seen = {"slots": [slot(HELD, "a1", NAME)], "held": held, "after": voice(clone=clone())}
    assert told(**seen).actions == ()  # type: ignore[arg-type]
    assert told(**seen, rename=True).actions == (Renaming(NAME),)  # type: ignore[arg-type]
    assert told([], [listed(name=NAME)], voice(clone=clone()), rename=True).actions == (HOLDING,)


def test_voices_of_others_are_counted_and_ours_are_not() -> None:
    held = [listed(), listed("v8", "", ""), listed("v9", "", "")]
    assert told([slot(HELD, "a1", NAME)], held, voice(clone=clone())).foreign == 2
