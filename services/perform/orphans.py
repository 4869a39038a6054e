"""Audio that no performance knows of any more: a process that was stopped in the middle may store it late."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform.ports import Clock, Ports, Turns

log = structlog.get_logger()

ORPHANS = Counter("perform_orphans_removed_total", "Audio without a performance that was removed.")
_LONGEST_PAUSE_SECONDS = 60.0


class Orphans:
    def __init__(self, ports: Ports, turns: Turns, age: timedelta, every: timedelta, now: Clock) -> None:
        """Audio is looked at when it is older than `age`, by one process at a time, `every` so often."""
        self._blobs = ports.blobs
        self._performances = ports.performances
        self._turns = turns
        self._age = age
        self._every = every
        self._now = now

    async def keep_looking(self, stop: asyncio.Event) -> None:
        pause = min(self._every.total_seconds(), _LONGEST_PAUSE_SECONDS)
        while not stop.is_set():
            try:
                await self._look_in_turn(stop)
            except ServiceError as error:
                log.warning("orphan_sweep_failed", cause=error.reason)
            except Exception:
                # A bug met in one round must not end all later ones, nor the services in this process.
                log.exception("orphan_sweep_crashed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _look_in_turn(self, stop: asyncio.Event) -> None:
        now = self._now()
        if await self._turns.take_turn("orphans", now, now + self._every):
            await self.remove(stop)

    async def remove(self, stop: asyncio.Event) -> int:
        """Everything there is now; returns how much was removed."""
        removed = 0
        async for found in self._blobs.older_than(self._now() - self._age):
            if stop.is_set():
                break
            wanted = await self._performances.with_audio([each.recording_id for each in found])
            lost = [each for each in found if each.recording_id not in wanted]
            if lost:
                await self._blobs.remove(lost)
                removed += len(lost)
        if removed:
            ORPHANS.inc(removed)
            log.warning("orphans_removed", recordings=removed)
        return removed
