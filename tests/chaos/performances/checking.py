"""What must hold after a run: of the users' own history, and of all that is kept about it."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.performer import accepted
from services.voice.providers.elevenlabs import USER_LABEL
from tests.chaos.performances.history import Answer, History, Request
from tests.chaos.performances.site import PLACES, Owner, Site
from tests.e2e.hearing import marker, seconds

# What may come of a performance in the middle of all this, beside success.
_HONEST = frozenset({0, 200, 429, 502, 503, 504})
# A memo's text is 80 to 120 characters; the tones of both engines say 60 ms a character.
_SHORTEST_SECONDS, _LONGEST_SECONDS = 2.0, 12.0


@dataclass(frozen=True)
class Before:
    """Of each user, as a run began."""

    credits: dict[str, int]
    recordings: dict[str, frozenset[str]]


async def before(site: Site) -> Before:
    credits, recordings = {}, {}
    for owner in site.owners:
        credits[owner.performer.user_id] = int((await owner.performer.credits())["charCount"])
        recordings[owner.performer.user_id] = frozenset(await _kept(site, owner))
    return Before(credits, recordings)


async def _kept(site: Site, owner: Owner) -> dict[str, dict[str, Any]]:
    """Everything that was kept and paid, by id, as the documents have it."""
    documents = site.mongo["perform"]["performances"]
    where = {"user_id": owner.performer.user_id, "state": "succeeded"}
    return {str(each["_id"]): each async for each in documents.find(where)}


async def settled(site: Site) -> list[str]:
    """What is still held or under way; empty when all has come to its end."""
    under_way = site.mongo["perform"]["performances"].find({"phase": {"$ne": "done"}})
    found = [f"performance {each['_id']} is {each['phase']}" async for each in under_way]
    months = site.mongo["auth"]["credit_months"]
    found += [
        f"credits of {month['_id']} are reserved: {month['committed'] - month['used']}"
        async for month in months.find({})
        if month["committed"] != month["used"]
    ]
    found += [f"pinned: {key!s}" for key in await site.cache.keys("voice:pins:*")]
    return found


async def of_provider(site: Site) -> list[str]:
    """The provider and what we know of it agree, after one pass of the reconciler."""
    audit = await site.simulator.audit()
    status = accepted(await site.admin.get("/v1/admin/voice-pool/status"))
    names = ("orphans", "deletion_pending", "in_flight", "pinned")
    found = [f"{name}: {status[name]}" for name in names if int(status.get(name, 0))]
    if audit["most_voices_at_once"] > PLACES:
        found.append(f"{audit['most_voices_at_once']} voices at the provider, which has {PLACES} places")
    documents = site.mongo["voice"]["voices"].find({"clone.in_pool": True})
    known = {each["clone"]["engine_voice_id"] async for each in documents}
    there = {voice["voice_id"] for voice in audit["voices"] if USER_LABEL in voice["labels"]}
    if known != there:
        found.append(f"at the provider alone: {there - known}; in documents alone: {known - there}")
    return found


async def violations(site: Site, history: History, was: Before) -> list[str]:
    audit = await site.simulator.audit()
    tones = _tones_by_user(audit)
    found = [each for request in history.requests for each in of_request(request)]
    found += [each for log in site.logs for each in _crashes(log)]
    for owner in site.owners:
        kept = await _kept(site, owner)
        mine = [each for each in history.requests if each.user_id == owner.performer.user_id]
        used = int((await owner.performer.credits())["charCount"])
        found += of_books(owner.performer.user_id, kept, mine, was, used)
        found += await _of_sound(owner, kept, mine, tones.get(owner.performer.user_id, set()), was)
    return found


def _tones_by_user(audit: dict[str, Any]) -> dict[str, set[int]]:
    """All tones that a user ever had at the provider."""
    tones: dict[str, set[int]] = {}
    for effect in audit["effects"]:
        if effect["effect"] == "add" and (user := effect["labels"].get(USER_LABEL)):
            tones.setdefault(user, set()).add(effect["marker_hz"])
    return tones


def of_request(request: Request) -> Iterator[str]:
    """One outcome, honestly told."""
    who = f"{request.value} of {request.user_id}"
    for answer in request.answers:
        if answer.status not in _HONEST and not answer.asks_again:
            yield f"{who} was answered {answer.status} {answer.error}"
        elif answer.error.startswith("not our shape"):
            yield f"{who} was answered {answer.status}, {answer.error}"
    if request.answers[-1].asks_again:
        last = request.answers[-1]
        yield f"{who} has no outcome, even in calm: {last.status} {last.error} lost={last.lost}"
    if request.key and len({(each.recording_id, each.audio) for each in request.good}) > 1:
        yield f"{who} has several outcomes under one key: {[each.recording_id for each in request.good]}"


def of_books(
    user_id: str, kept: dict[str, dict[str, Any]], mine: Sequence[Request], was: Before, used: int
) -> Iterator[str]:
    """Everybody paid for what was kept, and for nothing else."""
    fresh = {each: kept[each] for each in kept.keys() - was.recordings[user_id]}
    charged = sum(document["charge"]["credits"] for document in fresh.values())
    if used - was.credits[user_id] != charged:
        yield f"{user_id} was charged {used - was.credits[user_id]}; what was kept costs {charged}"
    for request in mine:
        made = [each for each, document in fresh.items() if request.value in document["recording"]["text"]]
        unheard = sum(answer.lost for answer in request.answers)
        most = 1 if request.key else 1 + unheard
        if len(made) > most:
            yield f"{request.value} of {user_id} was made {len(made)} times: {made}"
        for answer in request.good:
            if answer.recording_id not in fresh:
                yield f"{request.value} of {user_id} was answered, and {answer.recording_id} is not kept"
    texts = Counter(document["recording"]["text"] for document in fresh.values())
    values = [request.value for request in mine]
    for text in texts:
        if not any(value in text for value in values):
            yield f"{user_id} has a memo that nobody asked for: {text}"


async def _of_sound(
    owner: Owner, kept: dict[str, dict[str, Any]], mine: Sequence[Request], tones: set[int], was: Before
) -> list[str]:
    """Each recording is whole, and in the voice of its user; whoever heard it heard just that."""
    user_id, found = owner.performer.user_id, []
    heard = {answer.recording_id: answer for request in mine for answer in request.good}
    for recording_id in kept.keys() - was.recordings[user_id]:
        response = await owner.performer.http.get(f"/v1/recordings/{recording_id}/audio")
        if not response.is_success:
            found.append(f"{recording_id} of {user_id} cannot be read: {response.status_code}")
            continue
        document = kept[recording_id]["recording"]
        local = document["voice_source"] == "local_clone"
        allowed = owner.local_tones if local else tones
        found += await asyncio.to_thread(of_audio, recording_id, response.content, document, allowed)
        answer: Answer | None = heard.get(recording_id)
        if answer is not None and answer.audio != response.content:
            found.append(f"{recording_id} of {user_id} sounded other than it is kept")
    return found


def of_audio(recording_id: str, audio: bytes, kept: dict[str, Any], allowed: Set[int]) -> list[str]:
    lasts, tone = seconds(audio), marker(audio)
    found = []
    if not _SHORTEST_SECONDS < lasts < _LONGEST_SECONDS or abs(lasts - kept["duration_seconds"]) > 0.2:
        found.append(f"{recording_id} lasts {lasts:.1f} s; it is said to last {kept['duration_seconds']:.1f}")
    if tone not in allowed:
        found.append(f"{recording_id} sounds at {tone} Hz, which is not its user's: {sorted(allowed)}")
    return found


def _crashes(log: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and "crashed" in line:
            event = json.loads(line)
            if str(event.get("event", "")).endswith("crashed"):
                yield f"{log.stem}: {event['event']}: {str(event.get('exception', ''))[-400:]}"
