"""Erasing a user everywhere: written down first, gone on with by any replica, proved at the end."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.auth.domain.erasure import STAGES, AskedBy, Erasure, Subject
from services.auth.ports import ErasureRecords, ErasureSubjects, Holder
from services.kernel.errors import ServiceError

log = structlog.get_logger()

ERASURES = Counter("auth_erasures_total", "Erasures that reached a state.", ["state"])
POSTPONED = Counter("auth_erasure_steps_postponed_total", "Steps that could not be done yet.", ["step"])

# Taken up by one round; the next round takes the others.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ErasureTimes:
    # No other replica goes on with it for so long. Above the patience of a round and one call.
    lease: timedelta
    # How soon to try again what could not be done.
    retry: timedelta
    # After so long no token and no call from before the closing can leave anything any more.
    settles: timedelta


class Erasures:
    """Each step is safe to repeat, so a lease is enough: two replicas at work do no harm."""

    def __init__(
        self,
        records: ErasureRecords,
        holders: Mapping[str, Holder],
        subjects: ErasureSubjects,
        times: ErasureTimes,
        new_id: Callable[[], UUID],
    ) -> None:
        self._records = records
        self._holders = holders
        self._subjects = subjects
        self._times = times
        self._new_id = new_id

    async def of(self, user_id: str) -> Erasure | None:
        return await self._records.of(self._subjects.reference(user_id))

    async def begin(self, user_id: str, asked_by: AskedBy, now: datetime, seconds: float) -> Erasure:
        """Erase as much as can be in this time, and leave the rest to the sweeper.

        The erasure that is there already, if there is one: one user is erased once.
        """
        erasure_id = str(self._new_id())
        wanted = Erasure(
            erasure_id=erasure_id,
            reference=self._subjects.reference(user_id),
            asked_by=asked_by,
            asked_at=now,
            sealed=self._subjects.seal(user_id, erasure_id),
            pseudonym=str(self._new_id()),
            due_at=now + self._times.lease,
        )
        known = await self._records.add(wanted)
        if known is not None:
            return known
        ERASURES.labels("begun").inc()
        log.info("erasure_begun", erasure_id=erasure_id, asked_by=asked_by)
        return await self._go_on(wanted, now, seconds)

    async def resume(self, now: datetime, seconds: float) -> int:
        """One round of the sweeper; how many erasures it took up."""
        taken = 0
        for erasure in await self._records.due(now, _AT_ONCE):
            if await self._records.take(erasure, now + self._times.lease):
                taken += 1
                await self._go_on(erasure, now, seconds)
        return taken

    async def _go_on(self, erasure: Erasure, now: datetime, seconds: float) -> Erasure:
        subject = Subject(
            self._subjects.open(erasure.sealed, erasure.erasure_id), erasure.erasure_id, erasure.pseudonym
        )
        give_up = monotonic() + seconds
        # The second time, everything is looked at again.
        done = frozenset() if erasure.completed_at else erasure.done_steps
        for stage in STAGES:
            left = [step for step in stage if step not in done]
            outcomes = await asyncio.gather(*(self._step(step, subject, now, give_up) for step in left))
            done |= {step for step, is_done in zip(left, outcomes, strict=True) if is_done}
            if not all(outcomes):
                await self._records.postpone(erasure.erasure_id, now + self._times.retry)
                return replace(erasure, done_steps=done)
        return await self._end(replace(erasure, done_steps=done), now)

    async def _step(self, step: str, subject: Subject, now: datetime, give_up: float) -> bool:
        try:
            while monotonic() < give_up:
                found = await self._holders[step].erase(subject, now)
                await self._records.count(subject.erasure_id, step, found.counts)
                if found.done:
                    await self._records.step_done(subject.erasure_id, step, now)
                    return True
                if not any(found.counts.values()):
                    break
            cause = "UNFINISHED"
        except ServiceError as error:
            cause = error.reason
        POSTPONED.labels(step).inc()
        log.warning("erasure_step_postponed", erasure_id=subject.erasure_id, step=step, cause=cause)
        return False

    async def _end(self, erasure: Erasure, now: datetime) -> Erasure:
        if erasure.completed_at:
            await self._records.confirm(erasure.erasure_id, now)
            ERASURES.labels("confirmed").inc()
            log.info("erasure_confirmed", erasure_id=erasure.erasure_id)
            return replace(erasure, confirmed_at=now, due_at=None)
        look_again, pseudonym = now + self._times.settles, str(self._new_id())
        await self._records.complete(erasure.erasure_id, now, look_again, pseudonym)
        ERASURES.labels("completed").inc()
        log.info("erasure_completed", erasure_id=erasure.erasure_id)
        return replace(erasure, completed_at=now, due_at=look_again, pseudonym=pseudonym)
