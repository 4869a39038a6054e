"""What must hold of a run, whatever was killed, by the provider's audit and by what users were told."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.voice.providers.elevenlabs import USER_LABEL
from tests.chaos.voice_pool.audience import EMBEDDED, Recorded
from tests.chaos.voice_pool.plan import PLACES, Plan
from tests.chaos.voice_pool.timeline import Call, Hold, Timeline
from tests.chaos.voice_pool.users import EXCUSED

# Two clocks of one machine are read one after the other.
_CLOCK_SECONDS: Final = 0.005
# After the cache is back: whose pin was refused meanwhile performs a little longer.
_CHANGES: Final = frozenset({"upload", "erase", "leave"})
_CRASHES: Final = ('"rpc_crashed"', '"round_crashed"', "Traceback", "_crashed")


@dataclass(frozen=True)
class Observed:
    """One run."""

    plan: Plan
    timeline: Timeline
    audit: Mapping[str, Any]
    users: Mapping[str, Recorded | None]

    @property
    def adds(self) -> dict[str, dict[str, Any]]:
        """By the voice's id, as its effect says."""
        return {each["voice_id"]: each for each in self.audit["effects"] if each["effect"] == "add"}

    @property
    def ours(self) -> list[dict[str, Any]]:
        """The voices that are there now and belong to us."""
        return [voice for voice in self.audit["voices"] if USER_LABEL in voice["labels"]]


def violations(seen: Observed, logs: Sequence[Path]) -> list[str]:
    found = [*_limits(seen), *_strange_answers(seen.timeline), *_crashes(logs)]
    return [*found, *_strange_voices(seen), *_taken_away(seen), *_strange_files(seen)]


def _limits(seen: Observed) -> Iterator[str]:
    audit, plan = seen.audit, seen.plan
    if audit["most_voices_at_once"] > PLACES + plan.foreign:
        yield f"{audit['most_voices_at_once'] - plan.foreign} voices at once in {PLACES} places"
    # Where the provider had to say no, we had promised what was not there.
    for status in ("voice_limit_reached", "voice_add_edit_limit_reached"):
        if audit["refusals"].get(status):
            yield f"the provider had to refuse: {status} x {audit['refusals'][status]}"
    foreign = sum(USER_LABEL not in voice["labels"] for voice in audit["voices"])
    if foreign != plan.foreign:
        yield f"{plan.foreign - foreign} voices that were not ours are gone"


def _strange_answers(timeline: Timeline) -> Iterator[str]:
    expected = {"ok", "", "VOICE_CLONE_REQUIRED", "VOICE_NOT_FOUND", "VOICE_IN_USE", "VOICE_SAMPLE_NOT_FOUND"}
    expected |= {"RECONCILE_UNDER_WAY"}
    for call in timeline.calls:
        if call.outcome not in expected | EXCUSED:
            yield f"{_of(call)} was answered {call.outcome}: {call.facts.get('message', '')}"
        knew = call.facts.get("knew")
        if call.what == "lease" and knew is True and call.outcome == "VOICE_CLONE_REQUIRED":
            yield f"{_of(call)}: has a sample and was told to upload one"
        if call.what == "lease" and knew is False and call.answered:
            yield f"{_of(call)}: has no sample and was given a voice"


def _crashes(logs: Sequence[Path]) -> Iterator[str]:
    for log in logs:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        found = [line for line in lines if any(sign in line for sign in _CRASHES)]
        if found:
            yield f"{log.name}: {len(found)} crashes, the first: {found[0][:1500]}"


def _strange_voices(seen: Observed) -> Iterator[str]:
    """Nobody may ever be given another's voice."""
    owners = {had.sample_hash: user_id for user_id, had in seen.users.items() if had}
    uploaded = {call.user_id for call in seen.timeline.calls if call.what == "upload"}
    for hold in seen.timeline.holds:
        made = seen.adds.get(hold.engine_voice_id)
        if hold.voice_source == "provider_voice_id":
            if made is None:
                yield f"{_held(hold)}: the provider never had that voice"
            elif made["labels"].get(USER_LABEL) != hold.user_id:
                yield f"{_held(hold)}: that is the voice of {made['labels']}"
        elif hold.voice_source != "local_clone" or not hold.profile:
            yield f"{_held(hold)}: nobody can speak in that"
        had = seen.users[hold.user_id]
        if owners.get(hold.sample_hash, hold.user_id) != hold.user_id:
            yield f"{_held(hold)}: that sample is of {owners[hold.sample_hash]}"
        elif hold.user_id not in uploaded and had and hold.sample_hash != had.sample_hash:
            yield f"{_held(hold)}: of a sample that nobody has"


def _taken_away(seen: Observed) -> Iterator[str]:
    """A voice that a performance holds stays, unless its user replaced or erased it."""
    deletes = {each["voice_id"]: each["at"] for each in seen.audit["effects"] if each["effect"] == "delete"}
    for hold in seen.timeline.holds:
        at = deletes.get(hold.engine_voice_id)
        if at is None or hold.engine_voice_id in seen.timeline.stolen:
            continue
        given_up = hold.given_up or float("inf")
        if not hold.granted + _CLOCK_SECONDS < at < given_up - _CLOCK_SECONDS:
            continue
        if not _changed_by_its_user(seen.timeline, hold, at) and not _unpinned(seen.timeline, hold):
            after, early = at - hold.granted, given_up - at
            yield f"{_held(hold)}: taken away {after:.3f} s after that, {early:.3f} s too early"


def _changed_by_its_user(timeline: Timeline, hold: Hold, at: float) -> bool:
    return any(
        call.user_id == hold.user_id
        and call.what in _CHANGES
        and call.began < at
        and (not call.answered or call.ended > hold.asked)
        for call in timeline.calls
    )


def _unpinned(timeline: Timeline, hold: Hold) -> bool:
    """Leased while the cache that holds the pins was away, or just before it lost what it had not written."""
    return any(
        outage.who == "valkey" and outage.began - 2 < hold.granted and hold.asked < outage.ended + 1
        for outage in timeline.outages
    )


def _strange_files(seen: Observed) -> Iterator[str]:
    """What was sent to the provider under a user's label is that user's sample."""
    uploaded = {call.user_id for call in seen.timeline.calls if call.what == "upload"}
    for voice in seen.ours:
        user_id = voice["labels"][USER_LABEL]
        had = seen.users.get(user_id)
        if had and user_id not in uploaded and voice["files"] != [had.mp3_sha256]:
            yield f"voice {voice['voice_id']} of {user_id} was made of another recording"


def unsettled(
    seen: Observed, stored: Sequence[Mapping[str, Any]], status: Mapping[str, Any], ledger: Mapping[str, Any]
) -> Iterator[str]:
    """After one reconciliation in calm the provider holds what the documents say, no more and no less."""
    there = {voice["voice_id"]: voice["labels"][USER_LABEL] for voice in seen.ours}
    known = {
        document["clone"]["engine_voice_id"]: document["_id"]
        for document in stored
        if document.get("clone", {}).get("in_pool")
    }
    for voice_id in there.keys() - known.keys():
        yield f"orphan {voice_id} of {there[voice_id]} at the provider"
    for voice_id in known.keys() - there.keys():
        yield f"{known[voice_id]} counts on {voice_id}, which the provider does not have"
    for voice_id in there.keys() & known.keys():
        if there[voice_id] != known[voice_id]:
            yield f"{known[voice_id]} is said to have {voice_id}, which is the voice of {there[voice_id]}"
    yield from _more_than_one(there)
    told = {"orphans": 0, "in_flight": 0, "deletion_pending": 0, "size": len(there)}
    if status != told:
        yield f"status says {dict(status)} instead of {told}"
    if ledger != there:
        yield f"the places say {json.dumps(dict(ledger))}, the provider has {json.dumps(there)}"
    for document in stored:
        for left in document.get("leftovers", ()):
            if left["engine_voice_id"] in there:
                yield f"{document['_id']} still has {left['engine_voice_id']} to remove"


def _more_than_one(there: Mapping[str, str]) -> Iterator[str]:
    for user_id, count in Counter(there.values()).items():
        if count > 1:
            yield f"{user_id} has {count} voices at the provider"


def strange_profiles(seen: Observed) -> Iterator[str]:
    """One sample, one profile: of who never uploaded, every local clone sounds the same."""
    # A clone that an administrator removed is learned anew, from the MP3 that was kept.
    other = {call.user_id for call in seen.timeline.calls if call.what == "upload"}
    other |= {call.facts["whom"] for call in seen.timeline.calls if call.what == "remove"}
    profiles: dict[str, set[bytes]] = {}
    for hold in seen.timeline.holds:
        if hold.profile and hold.user_id not in other:
            profiles.setdefault(hold.user_id, set()).add(hold.profile)
    for number, (user_id, had) in enumerate(seen.users.items()):
        found = profiles.get(user_id, set())
        if had and number % EMBEDDED and found - {had.profile}:
            yield f"{user_id} spoke in {found}, and not in {had.profile!r}"
        elif len(found) > 1:
            yield f"{user_id} spoke in {len(found)} local clones"


def _of(call: Call) -> str:
    return f"{call.what} of {call.user_id} at {call.began:.3f} ({call.facts.get('replica', '')})"


def _held(hold: Hold) -> str:
    return f"{hold.user_id} leased {hold.engine_voice_id} at {hold.granted:.3f}"
