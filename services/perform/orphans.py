"""Audio that nothing leads to: a process that was stopped stored it late, or a speech's key is over."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client import Counter

from services.perform.ports import AudioReferences, Blobs, Clock, Turns

log = structlog.get_logger()

ORPHANS = Counter("perform_orphans_removed_total", "Audio without a performance that was removed.")


@dataclass(frozen=True, slots=True)
class OrphanRules:
    """Audio is looked at when it is older than `age`, by one process at a time, `every` so often."""

    age: timedelta
    every: timedelta
    now: Clock


class Orphans:
    def __init__(
        self, blobs: Blobs, references: Sequence[AudioReferences], turns: Turns, rules: OrphanRules
    ) -> None:
        self._blobs = blobs
        self._references = references
        self._turns = turns
        self._age = rules.age
        self._every = rules.every
        self._now = rules.now

    async def look_in_turn(self) -> None:
        """Unless another process looked a short while ago."""
        now = self._now()
        if await self._turns.take_turn("orphans", now, now + self._every):
            await self.remove()

    async def remove(self) -> int:
        """Everything there is now; returns how much was removed."""
        removed = 0
        async for found in self._blobs.older_than(self._now() - self._age):
            ids = [each.recording_id for each in found]
            answers = await asyncio.gather(*(each.with_audio(ids) for each in self._references))
            lost = [each for each in found if not any(each.recording_id in wanted for wanted in answers)]
            if lost:
                await self._blobs.remove(lost)
                removed += len(lost)
        if removed:
            ORPHANS.inc(removed)
            log.warning("orphans_removed", recordings=removed)
        return removed
