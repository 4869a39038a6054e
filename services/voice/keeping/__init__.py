"""How voices are made, replaced and removed, so that nothing is lost or left behind, whatever dies."""

import asyncio
from datetime import datetime
from typing import Final
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.voice.domain import (
    Clone,
    Consent,
    Outcome,
    Sample,
    Voice,
    VoiceChangedMeanwhile,
    VoiceSampleNotFound,
)
from services.voice.keeping.clearing import Clearing
from services.voice.keeping.making import NOT_THERE, Made, Making, exhausted, for_caller
from services.voice.keeping.standing import Standby, StandingBy
from services.voice.keeping.surroundings import KeepingRules, Overflow, Surroundings
from services.voice.keeping.trying import READINGS, Trying, lost
from services.voice.ports import NormalisedSample
from services.voice.works import outcome_of

__all__ = ["READINGS", "Keeping", "KeepingRules", "Overflow", "Standby", "Surroundings", "lost"]

log = structlog.get_logger()

RECLONES = Counter("voice_pool_reclones_total", "Voices that were cloned again from their stored sample.")

# How often another's attempt is looked at while somebody waits for it.
_LOOK_AGAIN_SECONDS: Final = 0.05


class Keeping:
    """Makes and removes voices, so that every blob and every clone belongs to a document at all times.

    An attempt is written down before it makes anything. Whatever is replaced, abandoned or erased is
    listed in the same document until it has been removed, by whoever left it or by the sweeper.
    What was begun goes on when its caller has hung up: an add is spent either way.
    """

    def __init__(self, around: Surroundings, rules: KeepingRules) -> None:
        self._voices = around.voices
        self._blobs = around.blobs
        self._works = around.works
        self._clock = around.clock
        self._pool = around.pool
        self._preferred = around.preferred
        self._rules = rules
        self._making = Making(around)
        self._clearing = Clearing(around)
        self._trying = Trying(around, self._clearing, rules.attempt_lasts)
        self._standing = StandingBy(around, self._making, self._trying)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._begun: WeakKeyDictionary[asyncio.Task[Outcome], asyncio.Event] = WeakKeyDictionary()

    async def keep(
        self, user_id: str, sample: NormalisedSample, consent: Consent, *, replaces: bool = False
    ) -> Outcome:
        """Make the user's voice one of this sample, which `replaces` one that its sender had seen.

        Raises VoiceChangedMeanwhile, also when what it replaces has been erased since.
        """
        work = self._works.start(
            f"keep {uuid4()}", lambda: self._keep(user_id, sample, consent, replaces=replaces)
        )
        return await outcome_of(work)

    async def has_sample(self, user_id: str) -> bool:
        return (await self._voices.get(user_id)).sample is not None

    def regain(self, user_id: str) -> "asyncio.Task[Outcome]":
        """Have the preferred provider's clone of the stored sample, once for all who wait for it.

        Ends with VoiceSampleNotFound, or VoiceSlotsExhausted when the user is given no place.
        """
        begun = asyncio.Event()
        task = self._works.start(f"regain {user_id}", lambda: self._regain(user_id, begun))
        if self._begun.setdefault(task, begun) is begun:
            task.add_done_callback(lambda _: begun.set())
        return task

    async def begun(self, regaining: "asyncio.Task[Outcome]") -> None:
        """Returns when the clone is being made, by whoever it is, or when nothing comes of it."""
        await self._begun[regaining].wait()

    def stand_by(self, user_id: str) -> "asyncio.Task[Standby]":
        """Have a clone of the embedded engine, for the overflow. Ends with VoiceSampleNotFound."""
        return self._works.start(f"standby {user_id}", lambda: self._standing.stand_by(user_id))

    def prefetch(self, user_id: str) -> bool:
        """Prepare the user's voice in the background; False when too many others are being prepared."""
        name = f"prefetch {user_id}"
        if not self._works.is_under_way(name) and self._works.count("prefetch ") >= self._rules.prefetches:
            return False
        self._works.start(name, lambda: self._prefetch(user_id))
        return True

    async def erase(self, user_id: str) -> None:
        """Safe to repeat; also ends an upload under way."""
        await self._clearing.erase(user_id)

    async def drop(self, user_id: str, clone_id: str) -> bool:
        """Remove a clone of the embedded engine; the sample stays. False when it is not there."""
        while True:
            voice = await self._voices.get(user_id)
            dropped = voice.dropped(clone_id, self._clock())
            if dropped is voice:
                return False
            if await self._voices.replace(voice, dropped):
                await self._clearing.tidy(dropped, at_once=False)
                return True

    async def clear(self, user_id: str) -> bool:
        """Remove what is left over of the user's voices; False when something cannot be removed yet."""
        await self._clearing.tidy(await self._voices.get(user_id), at_once=False)
        return not (await self._voices.get(user_id)).leftovers

    async def sweep(self) -> int:
        """Finish what died half-way; returns how many voices were looked at."""
        return await self._clearing.sweep()

    async def _keep(
        self, user_id: str, sample: NormalisedSample, consent: Consent, *, replaces: bool
    ) -> Outcome:
        # Only spares uploads to this process the waiting below; the document decides who is first.
        async with self._turn(user_id):
            while True:
                voice = await self._voices.get(user_id)
                if replaces and voice.sample is None:
                    raise VoiceChangedMeanwhile("The voice was erased meanwhile.")
                replaces = voice.sample is not None
                same = voice.sample is not None and voice.sample.hash == sample.hash
                if same and (found := self._preferred_of(voice)):
                    return _unchanged(voice, found)
                attempt = self._trying.attempt(self._preferred.name, sample.hash)
                if claimed := await self._trying.claimed(voice, attempt):
                    break
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            if same:
                return await self._renewed_or_standby(claimed, sample)
            return await self._replaced(claimed, sample, consent)

    async def _regain(self, user_id: str, begun: asyncio.Event) -> Outcome:
        async with self._turn(user_id):
            while True:
                voice = await self._voices.get(user_id)
                if voice.sample is None:
                    raise VoiceSampleNotFound("There is no voice sample.")
                if found := self._preferred_of(voice):
                    return _unchanged(voice, found)
                if not self._trying.is_changing(voice):
                    sample = await self._worth_an_attempt(voice, voice.sample)
                    attempt = self._trying.attempt(self._preferred.name, sample.hash)
                    if claimed := await self._trying.claimed(voice, attempt):
                        begun.set()
                        return await self._renewed(claimed, sample)
                elif voice.is_claimed(self._clock()):
                    begun.set()
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _worth_an_attempt(self, voice: Voice, kept: Sample) -> NormalisedSample:
        """Asked before anything is written: most of those who are refused a place ask often."""
        if self._pool is None:
            return await self._trying.sample_of(voice, with_sound=True)
        admission = await self._pool.consider(voice.user_id, kept.hash)
        if not admission.admitted:
            raise exhausted(admission)
        return await self._trying.sample_of(voice, with_sound=False)

    async def _prefetch(self, user_id: str) -> None:
        try:
            await outcome_of(self.regain(user_id))
        except NOT_THERE:
            if self._rules.overflow is Overflow.LOCAL:
                await outcome_of(self.stand_by(user_id))

    async def _replaced(self, claimed: Voice, sample: NormalisedSample, consent: Consent) -> Outcome:
        """The new voice first, then the old one is removed; unless it had to make room for the new one."""
        attempt = claimed.claim
        async with self._trying.carrying_out(claimed) as progress:
            # One after the other: a failure must not leave another half running behind the clean-up.
            audio = await self._blobs.put(attempt.audio_name, sample.mp3)
            progress.made = await self._made(claimed, sample)
            clone = await self._making.clone_of(progress.made, attempt)
            kept = Sample(sample.hash, sample.seconds, len(sample.mp3), sample.transcoded, audio, consent)
            lasts = self._rules.lease_lasts
            held = await self._trying.stored(
                claimed, lambda voice, now: voice.holding(kept, clone, now, now + lasts)
            )
        await self._settle(held, clone)
        # Looked up after the change: who leases now is given the new voice.
        spoken_in = self._pool is not None and await self._pool.is_pinned(held.user_id)
        await self._clearing.tidy(held, at_once=not spoken_in)
        return Outcome("updated" if claimed.sample else "created", kept, clone)

    async def _made(self, claimed: Voice, sample: NormalisedSample) -> Made:
        try:
            return await self._making.at_preferred(claimed, sample)
        except NOT_THERE as error:
            if self._rules.overflow is Overflow.REFUSE:
                raise for_caller(error) from error
            log.info("voice_overflowed", cause=error.reason)
        return await self._making.at_embedded(claimed.user_id, claimed.claim, sample)

    async def _renewed_or_standby(self, claimed: Voice, sample: NormalisedSample) -> Outcome:
        try:
            return await self._renewed(claimed, sample)
        except NOT_THERE as error:
            if self._rules.overflow is Overflow.REFUSE:
                raise for_caller(error) from error
        standby = await self._standing.stand_by(claimed.user_id, sample)
        assert claimed.sample is not None  # noqa: S101 - it is the same sample
        action = "unchanged" if claimed.embedded else "created"
        return Outcome(action, claimed.sample, standby.clone, dedup=True)

    async def _renewed(self, claimed: Voice, sample: NormalisedSample) -> Outcome:
        """A new clone of the sample that is there."""
        attempt, before = claimed.claim, claimed.embedded
        assert claimed.sample is not None  # noqa: S101 - it is the same sample
        async with self._trying.carrying_out(claimed) as progress:
            progress.made = await self._making.at_preferred(claimed, sample)
            clone = await self._making.clone_of(progress.made, attempt)
            held = await self._trying.stored(claimed, lambda voice, now: _renewal(voice, clone, now))
        await self._settle(held, clone)
        await self._clearing.tidy(held, at_once=False)
        promoted = before is not None and clone.in_pool
        if not promoted:
            RECLONES.inc()
        event = "voice_promoted" if promoted else "voice_recloned"
        log.info(event, voice_clone_id=clone.clone_id, engine=clone.engine)
        return Outcome("promoted" if promoted else "created", claimed.sample, clone, dedup=True)

    async def _settle(self, held: Voice, clone: Clone) -> None:
        """When this fails, the reconciler does it."""
        if self._pool is None or not clone.in_pool:
            return
        try:
            await self._pool.settle(held.user_id, clone.clone_id, clone.engine_voice_id)
        except ServiceError as error:
            log.warning("voice_settling_postponed", voice_clone_id=clone.clone_id, cause=error.reason)

    def _preferred_of(self, voice: Voice) -> Clone | None:
        if self._preferred.pooled:
            return voice.clone_at(self._preferred.name, self._clock())
        embedded = voice.embedded
        return embedded if embedded and embedded.engine == self._preferred.engine else None

    def _turn(self, user_id: str) -> asyncio.Lock:
        return self._turns.setdefault(user_id, asyncio.Lock())


def _unchanged(voice: Voice, clone: Clone) -> Outcome:
    assert voice.sample is not None  # noqa: S101 - a clone is of a sample
    return Outcome("unchanged", voice.sample, clone, dedup=True)


def _renewal(voice: Voice, clone: Clone, now: datetime) -> Voice:
    """A voice at a provider that is no longer preferred stays, for the day it is preferred again."""
    if voice.clone and voice.clone.in_pool and not clone.in_pool:
        return voice.standing_by(clone, now)
    return voice.regained(clone, now)
