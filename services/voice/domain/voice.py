"""A user's voice as one value, and how it changes.

A voice is the sample, the clone made of it, the change that is under way, and what earlier changes left
behind. Every change makes a new value with a higher revision, and is stored only if the revision that it
was made from is still the stored one.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from services.voice.domain.values import Attempt, Clone, Leftover, Sample, SealedBlob

# Whoever left something removes it at once; a sweeper comes after this, for those who died.
_SWEPT_AFTER = timedelta(minutes=1)
# A write that had no answer may land for so long after it was given up.
_LANDS_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Voice:
    """`revision` 0 is a voice that is not stored. `fence` is the revision at which it last changed."""

    user_id: str
    revision: int = 0
    fence: int = 0
    sample: Sample | None = None
    clone: Clone | None = None
    # The embedded engine's clone of the same sample beside one at a provider: the overflow speaks in it.
    standby: Clone | None = None
    attempt: Attempt | None = None
    leftovers: tuple[Leftover, ...] = ()
    changed_at: datetime | None = None
    # When a sweeper should look at it; absent when there is nothing to do.
    sweep_at: datetime | None = None

    @property
    def empty(self) -> bool:
        return not (self.sample or self.clone or self.standby or self.attempt or self.leftovers)

    @property
    def state(self) -> str:
        if self.sample is None:
            return "none"
        return "ready" if self.clone else "evicted"

    @property
    def blobs(self) -> tuple[SealedBlob, ...]:
        """All that its content is in."""
        held = (
            self.sample and self.sample.audio,
            self.clone and self.clone.profile,
            self.standby and self.standby.profile,
        )
        return tuple(blob for blob in held if blob)

    @property
    def embedded(self) -> Clone | None:
        """The clone that takes nobody's place."""
        return self.clone if self.clone and not self.clone.in_pool else self.standby

    @property
    def claim(self) -> Attempt:
        """The attempt that is under way, of a voice that was claimed for one."""
        assert self.attempt is not None  # noqa: S101 - it was claimed
        return self.attempt

    def clone_at(self, provider: str, now: datetime) -> Clone | None:
        """The clone at this provider, if it is not about to be removed."""
        clone = self.clone
        return clone if clone and clone.provider == provider and not clone.is_leaving(now) else None

    def is_claimed(self, now: datetime) -> bool:
        return self.attempt is not None and now < self.attempt.expires_at

    def is_claimed_by(self, attempt_id: str) -> bool:
        return self.attempt is not None and self.attempt.attempt_id == attempt_id

    def claimed(self, attempt: Attempt, now: datetime) -> Self:
        """With this attempt under way; what an expired one left is to be removed."""
        return self.abandoned(now)._changed(now, attempt=attempt)

    def abandoned(self, now: datetime, engine_voice_id: str = "", *, answered: bool = False) -> Self:
        """Without the attempt that is under way, which has made this voice at its provider, if any. What it
        was storing may land later, unless all of that was `answered`."""
        if self.attempt is None:
            return self
        left = _remains(self.attempt, now, engine_voice_id)
        return self._leaving(now, replace(left, until=None) if answered else left, attempt=None)

    def holding(
        self, sample: Sample, clone: Clone, now: datetime, not_before: datetime | None = None
    ) -> Self:
        """With the attempt's outcome; what was there before is to be removed, a voice at a provider not
        before that moment."""
        changed = {"sample": sample, "clone": clone, "standby": None, "attempt": None, "changed_at": now}
        return self._leaving(now, *self._held(not_before), fence=self._next(now), **changed)

    def regained(self, clone: Clone, now: datetime) -> Self:
        """With a new clone of the same sample. One of the embedded engine stays beside it."""
        left: list[Leftover] = []
        standby = self.standby
        if self.clone and clone.in_pool and not self.clone.in_pool:
            left += _left_of(self.standby)
            standby = self.clone
        else:
            left += _left_of(self.clone)
        changed = {"clone": clone, "standby": standby, "attempt": None}
        return self._leaving(now, *left, fence=self._next(now), **changed)

    def standing_by(self, clone: Clone, now: datetime) -> Self:
        """With a clone of the embedded engine beside what is there."""
        return self._leaving(now, *_left_of(self.standby), standby=clone, attempt=None)

    def marked(self, until: datetime, now: datetime) -> Self:
        """Its clone is about to be removed: who leases waits for the outcome."""
        assert self.clone is not None  # noqa: S101 - only what is there is removed
        return self._changed(now, clone=replace(self.clone, leaving_until=until))

    def unmarked(self, now: datetime) -> Self:
        assert self.clone is not None  # noqa: S101 - it was marked
        return self._changed(now, clone=replace(self.clone, leaving_until=None))

    def evicted(self, now: datetime) -> Self:
        """Without its clone, which is to be removed; sample and standby stay."""
        return self._leaving(now, *_left_of(self.clone), clone=None, fence=self._next(now))

    def dropped(self, clone_id: str, now: datetime) -> Self:
        """Without this clone of the embedded engine; itself when there is none of this id."""
        if self.clone and not self.clone.in_pool and self.clone.clone_id == clone_id:
            return self.evicted(now)
        if self.standby and self.standby.clone_id == clone_id:
            return self._leaving(now, *_left_of(self.standby), standby=None)
        return self

    def reinstated(self, clone: Clone, now: datetime) -> Self:
        """With the clone that was evicted and could not be removed after all."""
        left = tuple(each for each in self.leftovers if each.engine_voice_id != clone.engine_voice_id)
        back = replace(clone, leaving_until=None)
        return self._changed(now, clone=back, leftovers=left, fence=self._next(now))

    def resealed(self, old: SealedBlob, new: SealedBlob, now: datetime) -> Self:
        """With the same content in the blob that the attempt made under another key, if it is still there."""
        if old not in self.blobs:
            return self.abandoned(now)
        sample, clone, standby = self.sample, self.clone, self.standby
        if sample and sample.audio == old:
            sample = replace(sample, audio=new)
        if clone and clone.profile == old:
            clone = replace(clone, profile=new)
        if standby and standby.profile == old:
            standby = replace(standby, profile=new)
        held = {"sample": sample, "clone": clone, "standby": standby}
        return self._leaving(now, Leftover((old.name,)), attempt=None, **held)

    def erased(self, now: datetime) -> Self:
        """With nothing but what has to be removed, also what an attempt under way may yet make."""
        left = list(self._held())
        if self.attempt:
            left.append(_remains(self.attempt, now))
        waiting = tuple(replace(each, not_before=None) for each in self.leftovers)
        gone = {"sample": None, "clone": None, "standby": None, "attempt": None, "changed_at": now}
        return replace(self, leftovers=waiting)._leaving(now, *left, fence=self._next(now), **gone)

    def cleaned(self, now: datetime, still: Collection[Leftover] = ()) -> Self:
        """After all leftovers but `still` were removed; blobs that may come back are kept in mind."""
        again = [
            replace(left, provider="", engine_voice_id="")
            for left in self.leftovers
            if left.until and now < left.until and left not in still
        ]
        times = [*(_next_look(left, now) for left in still), *(left.until for left in again if left.until)]
        if self.attempt:
            times.append(self.attempt.expires_at)
        sweep_at = min(times, default=None)
        return replace(self, leftovers=(*still, *again), sweep_at=sweep_at, revision=self._next(now))

    def _held(self, not_before: datetime | None = None) -> tuple[Leftover, ...]:
        """All that a new sample replaces; a voice at a provider may have to stay for a while."""
        audio = (Leftover((self.sample.audio.name,)),) if self.sample else ()
        clone = _left_of(self.clone)
        if self.clone and self.clone.in_pool:
            clone = tuple(replace(each, not_before=not_before) for each in clone)
        return (*audio, *clone, *_left_of(self.standby))

    def _leaving(self, now: datetime, *left: Leftover, **changes: object) -> Self:
        return self._changed(now, leftovers=(*self.leftovers, *left), **changes)

    def _changed(self, now: datetime, **changes: object) -> Self:
        made = replace(self, **{"revision": self._next(now), **changes})  # type: ignore[arg-type]
        times = [_next_look(left, now) for left in made.leftovers]
        if made.attempt:
            times.append(made.attempt.expires_at)
        return replace(made, sweep_at=min(times, default=None))

    def _next(self, now: datetime) -> int:
        """Grows also over an erasure, after which nothing is left to count from: it follows the clock."""
        return max(self.revision + 1, round(now.timestamp() * 1000))


def _next_look(left: Leftover, now: datetime) -> datetime:
    return max(left.not_before or now, now + _SWEPT_AFTER)


def _left_of(clone: Clone | None) -> tuple[Leftover, ...]:
    if clone is None:
        return ()
    blobs = (clone.profile.name,) if clone.profile else ()
    return (Leftover(blobs, clone.provider, clone.engine_voice_id, attempt_id=clone.clone_id),)


def _remains(attempt: Attempt, now: datetime, engine_voice_id: str = "") -> Leftover:
    provider = attempt.provider if engine_voice_id else ""
    blobs = (attempt.audio_name, attempt.profile_name)
    until = max(attempt.expires_at, now + _LANDS_WITHIN)
    return Leftover(blobs, provider, engine_voice_id, until, attempt.attempt_id)
