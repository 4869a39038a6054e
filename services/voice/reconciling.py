"""Keeps the provider, the places and the documents true to one another, whatever died between them."""

import asyncio
from collections import Counter as Counts
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.kernel.rounds import again_and_again
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
from services.voice.domain import PinsUnavailable, ReconcileUnderWay, Voice
from services.voice.righting import Righting, Sides

log = structlog.get_logger()

RECONCILED = Counter("voice_reconciled_total", "Differences that a reconciliation put right.", ["found"])

# Renewed before each step. Who dies keeps others waiting for no longer; who is slower than this finds out
# before its next step that another has begun.
_LEASE: Final = timedelta(seconds=15)
# Callers are told within two minutes what came of it.
_BEGINS_WITHIN: Final = timedelta(seconds=80)


@dataclass(frozen=True, slots=True)
class ReconcileRules:
    # An add without an answer that is not in the provider's list for so long never took effect.
    unknown: timedelta
    # Give each voice its own id as its name; each may spend an add.
    rename: bool = False
    # The most places to use, whatever the plan has; None for all of them.
    most_places: int | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was done, or in a dry run what would have been."""

    dry_run: bool
    # At the provider, ours and others'.
    found: int
    adopted: int = 0
    orphans_deleted: int = 0
    missing: int = 0
    renamed: int = 0
    places_freed: int = 0
    places_restored: int = 0
    deletions_retried: int = 0
    # What could not be put right now.
    pending: int = 0


class Reconciling:
    """Safe to run in every replica: a lease lets one at a time, and conditional updates decide."""

    def __init__(self, sides: Sides, rules: ReconcileRules, clock: Callable[[], datetime]) -> None:
        self._sides = sides
        self._voices = sides.voices
        self._slots = sides.slots
        self._provider = sides.provider
        self._rules = rules
        self._clock = clock

    async def reconcile(self, *, dry_run: bool = False) -> Reconciliation:
        """Raises ReconcileUnderWay. When the provider cannot be read, nothing was changed."""
        holder, until = str(uuid4()), self._clock() + _BEGINS_WITHIN
        orphans, whole = 0, False
        await self._keep(holder)
        try:
            seen = await self._look()
            now, rules = self._clock(), self._rules
            difference = compare(seen, self._provider.name, now, rules.unknown, rename=rules.rename)
            done: Collection[Action] = difference.actions
            if not dry_run:
                done = await self._put_right(holder, seen, difference.actions, until)
                await self._refresh(difference.foreign)
                await self._rebuild()
                # One that ran out of time is not the last word: the next comes soon.
                whole = self._clock() < until
            undone = [action for action in difference.actions if action not in done]
            orphans = sum(isinstance(action, Removal) and action.orphan for action in undone)
            told = _summary(done, len(seen.held), len(undone) + difference.waiting, dry_run=dry_run)
        finally:
            await asyncio.shield(self._end(holder, orphans, whole=whole))
        log.info("pool_reconciled", **asdict(told))
        return told

    async def until_due(self, every: timedelta) -> timedelta:
        """How long after the last whole reconciliation of any replica the next one is due; never long."""
        done_at = (await self._slots.read()).reconciled_at
        return every - (self._clock() - done_at) if done_at else timedelta(0)

    async def _look(self) -> Seen:
        """In this order, or what is made meanwhile would look as if nobody owned it."""
        ledger = await self._slots.read()
        before = await self._documents({slot.user_id for slot in ledger.slots})
        held = await self._provider.held()
        users = {voice.user_id for voice in held if voice.user_id}
        after = await self._documents(users | before.keys() | {slot.user_id for slot in ledger.slots})
        return Seen(ledger, before, held, after)

    async def _documents(self, user_ids: Collection[str]) -> Mapping[str, Voice]:
        """Of these users, and of all who have a voice at the provider."""
        found = [*await self._voices.held_at(self._provider.name), *await self._voices.of(user_ids)]
        return {voice.user_id: voice for voice in found}

    async def _put_right(
        self, holder: str, seen: Seen, actions: Collection[Action], until: datetime
    ) -> list[Action]:
        """One after the other: the provider must not be kept busy by this. Returns what was done."""
        righting = Righting(self._sides, seen, self._clock)
        done: list[Action] = []
        for action in actions:
            if self._clock() >= until:
                break
            await self._keep(holder)
            if await righting.put_right(action):
                RECONCILED.labels(_name(action)).inc()
                done.append(action)
        return done

    async def _keep(self, holder: str) -> None:
        """The lease, for a little longer. Raises ReconcileUnderWay when another has it."""
        now = self._clock()
        if not await self._slots.begin_reconcile(holder, now + _LEASE, now):
            raise ReconcileUnderWay("The pool is being reconciled already.")

    async def _refresh(self, foreign: int) -> None:
        asked_at = self._clock()
        try:
            allowance = await self._provider.allowance()
        except ServiceError as error:
            # Whoever admits next asks again.
            log.warning("voice_allowance_postponed", cause=error.reason)
            return
        await self._slots.refreshed(allowance, foreign, self._rules.most_places, asked_at)

    async def _rebuild(self) -> None:
        held = await self._voices.held_at(self._provider.name)
        used = {voice.user_id: voice.clone.made_at.timestamp() for voice in held if voice.clone}
        try:
            await self._sides.habits.rebuild(used)
        except PinsUnavailable as error:
            log.warning("voice_index_postponed", cause=str(error))

    async def _end(self, holder: str, orphans: int, *, whole: bool) -> None:
        try:
            await self._slots.end_reconcile(holder, self._clock(), orphans=orphans, whole=whole)
        except ServiceError as error:
            # It ends by itself, a little later.
            log.warning("voice_reconcile_lease_left", cause=error.reason)


def _name(action: Action) -> str:
    match action:
        case Missing():
            return "missing"
        case Removal():
            return "orphan" if action.orphan else "deletion"
        case Adoption():
            return "adopted"
        case Release():
            return "place_freed"
        case Holding():
            return "place_restored"
        case Renaming():
            return "renamed"


def _summary(done: Collection[Action], found: int, pending: int, *, dry_run: bool) -> Reconciliation:
    counts = Counts(map(_name, done))
    return Reconciliation(
        dry_run,
        found,
        adopted=counts["adopted"],
        orphans_deleted=counts["orphan"],
        missing=counts["missing"],
        renamed=counts["renamed"],
        places_freed=counts["place_freed"],
        places_restored=counts["place_restored"],
        deletions_retried=counts["deletion"],
        pending=pending,
    )


async def reconcile_forever(reconciling: Reconciling, every_seconds: float) -> None:
    """Once at the start, then as often as told, all replicas together."""
    every = timedelta(seconds=every_seconds)
    due = timedelta(0)

    async def work() -> timedelta:
        nonlocal due
        try:
            if due <= timedelta(0):
                await reconciling.reconcile()
            due = await reconciling.until_due(every)
        except ReconcileUnderWay:
            due = every / 10
        return max(due, every / 100)

    await again_and_again("voice reconcile", work, every_seconds / 10)
