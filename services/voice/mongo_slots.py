"""The pool of a provider in MongoDB: one document, changed only by conditional updates of that document.

Conditions compare a field with a constant, never two fields, so the document keeps what is left beside
what there is: `free` is the capacity less the slots, `adds_left` the adds of the plan less those spent,
with 0 for what is not known or not limited. Both may be below zero. All updates move them by a difference,
so that none overwrites what another does at the same time.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote
from uuid import uuid4

import structlog
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from services.voice.domain import VoiceStoreUnavailable
from services.voice.mongo import Document, reached
from services.voice.ports import Allowance
from services.voice.slots import Ledger, Slot, SlotState

log = structlog.get_logger()

_EMPTY: Final[Document] = {
    "slots": {},
    "capacity": None,
    "free": 0,
    "most_adds": None,
    "adds_spent": 0,
    "adds_left": 0,
    "renewed_at": None,
    "refreshed_at": None,
    # How often the allowance was refreshed: a refresh counts from what it read, if nobody did meanwhile.
    "refreshes": 0,
    # When the last adds took effect, or went into names, until the provider's own count must know of them.
    "settled": [],
    "reconciled_at": None,
    "orphans": 0,
    "creations": 0,
    "evictions": 0,
    "reconciling": None,
}
_AN_ADD: Final[Document] = {"$or": [{"most_adds": None}, {"adds_left": {"$gt": 0}}]}
# Adds that ended this shortly before the provider's count came may not be in it: it was asked a
# while before, and perhaps by a replica whose clock is ahead.
_SETTLING: Final = timedelta(seconds=15)
_MOST_SETTLING: Final = 200
# Who loses a conditional update this often was not slow, something is wrong.
_TRIES: Final = 20


class MongoSlots:
    """Every call is safe to repeat, also when it took effect and the answer was lost; at worst, by
    `spend_add`, an add too many is counted for a while."""

    def __init__(self, pools: AsyncCollection[Document], provider: str) -> None:
        self._pools = pools
        self._provider = provider

    async def prepare(self) -> None:
        with reached():
            try:
                await self._pools.update_one({"_id": self._provider}, {"$setOnInsert": _EMPTY}, upsert=True)
            except DuplicateKeyError:
                # Another replica made it at the same moment.
                return

    async def installation(self) -> str:
        """By which the voices of this database are told from others' at the same provider; made once."""
        with reached():
            nameless = {"_id": self._provider, "installation": {"$exists": False}}
            await self._pools.update_one(nameless, {"$set": {"installation": uuid4().hex}})
        return str((await self._find() or {})["installation"])

    async def read(self) -> Ledger:
        return _ledger(await self._find() or _EMPTY)

    async def take(self, slot: Slot) -> bool:
        place = _place(slot.attempt_id)
        change = {"$set": {place: _fields(slot)}, "$inc": {"free": -1, "adds_spent": 1, "adds_left": -1}}
        if await self._update({place: {"$exists": False}, "free": {"$gt": 0}, **_AN_ADD}, change):
            return True
        return await self._has(slot.attempt_id)

    async def take_over(self, leaving: str, slot: Slot) -> bool:
        place, left = _place(slot.attempt_id), _place(leaving)
        # Not while there are more slots than capacity: that is how a pool shrinks.
        holds = {place: {"$exists": False}, left: {"$exists": True}, "free": {"$gte": 0}, **_AN_ADD}
        change = {
            "$unset": {left: ""},
            "$set": {place: _fields(slot)},
            "$inc": {"adds_spent": 1, "adds_left": -1},
        }
        return await self._update(holds, change) or await self._has(slot.attempt_id)

    async def spend_add(self, now: datetime) -> bool:
        change = {"$inc": {"adds_spent": 1, "adds_left": -1}, "$push": _settled(now)}
        return await self._update(_AN_ADD, change)

    async def change(self, attempt_id: str, state: SlotState, now: datetime, engine_voice_id: str) -> bool:
        place = _place(attempt_id)
        for _ in range(_TRIES):
            seen = await self._slot(attempt_id)
            if seen is None:
                return False
            named = engine_voice_id or seen.engine_voice_id
            if (seen.state, seen.engine_voice_id) == (state, named):
                return True
            change: Document = {"$set": {f"{place}.state": state, f"{place}.engine_voice_id": named}}
            if seen.state is not state:
                change["$set"][f"{place}.since"] = now
                change |= _counted(seen.state, state, now, named)
            unchanged = {f"{place}.state": seen.state, f"{place}.engine_voice_id": seen.engine_voice_id}
            if await self._update(unchanged, change):
                return True
        raise self._contended()

    async def give_back(self, attempt_id: str, *, unspent: bool) -> bool:
        place = _place(attempt_id)
        change = {"$unset": {place: ""}, "$inc": {"free": 1}}
        if unspent:
            with_the_add = {**change, "$inc": {"free": 1, "adds_spent": -1, "adds_left": 1}}
            if await self._update({place: {"$exists": True}, "adds_spent": {"$gt": 0}}, with_the_add):
                return True
        return await self._update({place: {"$exists": True}}, change)

    async def restore(self, slot: Slot) -> None:
        place = _place(slot.attempt_id)
        change = {"$set": {place: _fields(slot)}, "$inc": {"free": -1}}
        await self._update({place: {"$exists": False}}, change)

    async def refreshed(self, allowance: Allowance, foreign: int, ceiling: int | None, now: datetime) -> None:
        """The provider's count is older than what happened here since it was asked.

        So what may be missing in it is counted on top: adds under way, and those that took effect shortly
        before. Some of them are in the provider's count as well. Counting them twice is safe, for it can
        only refuse an add that could have been afforded, and the next refresh, which finds them settled long
        ago, puts it right. Counting one too few would promise an add that is not there.
        """
        for _ in range(_TRIES):
            seen = await self._find()
            if seen is None:
                await self.prepare()
                continue
            if seen["refreshed_at"] and now < seen["refreshed_at"]:
                # A later answer is known already.
                return
            change = _refresh(seen, allowance, foreign, ceiling, now)
            if await self._update({"refreshes": seen["refreshes"]}, change):
                return
        raise self._contended()

    async def begin_reconcile(self, holder: str, until: datetime, now: datetime) -> bool:
        free = [{"reconciling": None}, {"reconciling.until": {"$lte": now}}, {"reconciling.holder": holder}]
        begun = {"$set": {"reconciling": {"holder": holder, "until": until}}}
        if await self._update({"$or": free}, begun):
            return True
        if await self._find("_id"):
            return False
        # Lost with all that it knew: a reconciliation is what brings that back.
        await self.prepare()
        return await self._update({"$or": free}, begun)

    async def end_reconcile(self, holder: str, now: datetime, *, orphans: int, whole: bool) -> None:
        found: Document = {"reconciled_at": now, "orphans": orphans} if whole else {}
        await self._update({"reconciling.holder": holder}, {"$set": {"reconciling": None, **found}})

    async def _update(self, condition: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        with reached():
            result = await self._pools.update_one({"_id": self._provider, **condition}, change)
        return result.matched_count == 1

    async def _find(self, *fields: str) -> Document | None:
        with reached():
            return await self._pools.find_one({"_id": self._provider}, fields or None)

    async def _slot(self, attempt_id: str) -> Slot | None:
        found = await self._find(_place(attempt_id))
        return next(iter(_slots(found)), None) if found else None

    async def _has(self, attempt_id: str) -> bool:
        return await self._slot(attempt_id) is not None

    def _contended(self) -> VoiceStoreUnavailable:
        log.warning("voice_pool_contended", provider=self._provider)
        return VoiceStoreUnavailable("The voice pool cannot be changed right now.")


def _refresh(
    seen: Document, allowance: Allowance, foreign: int, ceiling: int | None, now: datetime
) -> Document:
    capacity = max(0, allowance.places - foreign)
    if ceiling is not None:
        capacity = min(capacity, ceiling)
    settling = [ended for ended in seen["settled"] if ended >= now - _SETTLING]
    adding = sum(slot.state is SlotState.ADDING for slot in _slots(seen))
    # Differences from what was seen: takes and returns that happened since stay counted.
    spent = allowance.adds_spent + adding + len(settling) - seen["adds_spent"]
    return {
        "$set": {
            "capacity": capacity,
            "most_adds": allowance.adds,
            "renewed_at": allowance.renewed_at,
            "refreshed_at": now,
        },
        "$inc": {
            "refreshes": 1,
            "free": capacity - (seen["capacity"] or 0),
            "adds_spent": spent,
            "adds_left": (allowance.adds or 0) - (seen["most_adds"] or 0) - spent,
        },
    }


def _counted(before: SlotState, after: SlotState, now: datetime, engine_voice_id: str) -> Document:
    """What a slot's change of state means beyond the slot."""
    if before is SlotState.ADDING:
        return {"$inc": {"creations": int(bool(engine_voice_id))}, "$push": _settled(now)}
    if (before, after) == (SlotState.HELD, SlotState.LEAVING):
        return {"$inc": {"evictions": 1}}
    return {}


def _settled(now: datetime) -> Document:
    return {"settled": {"$each": [now], "$slice": -_MOST_SETTLING}}


def _place(attempt_id: str) -> str:
    """The path of a slot. Attempt ids also come back from the provider, where anybody may write them."""
    return "slots." + quote(attempt_id, safe="").replace(".", "%2E")


def _fields(slot: Slot) -> Document:
    return {
        "user_id": slot.user_id,
        "sample_hash": slot.sample_hash,
        "state": slot.state,
        "since": slot.since,
        "engine_voice_id": slot.engine_voice_id,
    }


def _slots(found: Document) -> tuple[Slot, ...]:
    return tuple(
        Slot(
            attempt_id=unquote(name),
            user_id=slot["user_id"],
            sample_hash=slot["sample_hash"],
            state=SlotState(slot["state"]),
            since=slot["since"],
            engine_voice_id=slot["engine_voice_id"],
        )
        for name, slot in found.get("slots", {}).items()
    )


def _ledger(found: Document) -> Ledger:
    return Ledger(
        slots=_slots(found),
        capacity=found["capacity"],
        most_adds=found["most_adds"],
        adds_spent=found["adds_spent"],
        renewed_at=found["renewed_at"],
        refreshed_at=found["refreshed_at"],
        reconciled_at=found["reconciled_at"],
        orphans=found["orphans"],
        creations=found["creations"],
        evictions=found["evictions"],
    )
