"""Seals every sample and profile with the first key of the key file, so that an older one can go.

Before this is run, the new key stands first in the key file of every replica, so that no upload seals
with an older one any more, and the older ones stand behind it.

A blob is not sealed anew in its place: whoever has just read the document must find what it says. The
content is put under a new name, by an attempt like that of an upload: it is written down before it makes
anything, whatever it leaves behind is swept, and uploads and erasures beside it lose nothing. So this may
be interrupted at any time, repeated, and run twice at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol
from uuid import uuid4

import structlog

from services.voice.domain import Attempt, BlobMissing, BlobSealed, Leftover, SealedBlob, Voice
from services.voice.ports import Blobs, Voices

log = structlog.get_logger()

_AT_ONCE: Final = 8
# Far longer than it takes; until then an upload of the same user waits if this process dies.
_ATTEMPT_LASTS: Final = timedelta(seconds=15)


class SealingBlobs(Blobs, Protocol):
    """Raises BlobSealed for what no key opens."""

    @property
    def sealing_id(self) -> str:
        """The key that `put` seals with."""


class SealedVoices(Voices, Protocol):
    async def sealed_otherwise(self, key_id: str, after: str, limit: int) -> Sequence[Voice]:
        """The next users by id with a blob that is sealed with another key; from the first when empty."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """How many blobs were sealed anew, and what became of the others that were found."""

    resealed: int
    # Somebody else was quicker: an upload, an erasure, another rotation.
    already: int
    # Named by a document and not there.
    missing: int
    # Damaged, or sealed with a key that is not in the file.
    unopened: int
    # Voices that were being changed just now.
    postponed: int

    @property
    def old_keys_may_go(self) -> bool:
        """False only when a voice was being changed: run it again. Blobs that no key opens need a key that is
        missing from the file."""
        return not self.postponed


async def rotate_keys(voices: SealedVoices, blobs: SealingBlobs, clock: Callable[[], datetime]) -> Rotated:
    """Raises VoiceStoreUnavailable; what was done until then stays done."""
    rotation, after = _Rotation(voices, blobs, clock), ""
    while page := await voices.sealed_otherwise(blobs.sealing_id, after, _AT_ONCE):
        done = await asyncio.gather(*(rotation.reseal(each.user_id) for each in page), return_exceptions=True)
        for failure in done:
            if failure:
                raise failure
        after = page[-1].user_id
    rotated = Rotated(**{outcome.value: rotation.outcomes[outcome] for outcome in _Outcome})
    log.info(
        "voice_keys_rotated", key_id=blobs.sealing_id, resealed=rotated.resealed, missing=rotated.missing
    )
    return rotated


class _Outcome(StrEnum):
    RESEALED = "resealed"
    ALREADY = "already"
    MISSING = "missing"
    UNOPENED = "unopened"
    POSTPONED = "postponed"


class _Rotation:
    def __init__(self, voices: SealedVoices, blobs: SealingBlobs, clock: Callable[[], datetime]) -> None:
        self._voices = voices
        self._blobs = blobs
        self._clock = clock
        self.outcomes: Counter[_Outcome] = Counter()

    async def reseal(self, user_id: str) -> None:
        """All blobs of one voice, each by an attempt of its own."""
        lost: set[SealedBlob] = set()
        found: list[_Outcome] = []
        while old := self._next(voice := await self._voices.get(user_id), lost):
            if voice.is_claimed(self._clock()):
                found.append(_Outcome.POSTPONED)
                break
            try:
                content = await self._blobs.get(old)
            except (BlobMissing, BlobSealed) as error:
                if (await self._voices.get(user_id)).revision == voice.revision:
                    found.append(_lost(old, error))
                    lost.add(old)
                continue
            if await self._move(voice, old, content):
                found.append(_Outcome.RESEALED)
        self.outcomes.update(found or [_Outcome.ALREADY])

    def _next(self, voice: Voice, lost: set[SealedBlob]) -> SealedBlob | None:
        otherwise = (blob for blob in voice.blobs if blob.key_id != self._blobs.sealing_id)
        return next((blob for blob in otherwise if blob not in lost), None)

    async def _move(self, voice: Voice, old: SealedBlob, content: bytes) -> bool:
        """False when somebody else was quicker; then nothing is left behind."""
        now, audio = self._clock(), voice.sample and voice.sample.audio
        sample_hash = voice.sample.hash if voice.sample else ""
        attempt = Attempt(str(uuid4()), "", now + _ATTEMPT_LASTS, sample_hash)
        name = attempt.audio_name if old == audio else attempt.profile_name
        if not await self._voices.replace(voice, voice.claimed(attempt, now)):
            return False
        try:
            new = await self._blobs.put(name, content)
            held = await self._stored(
                voice.user_id, attempt, lambda there, now: there.resealed(old, new, now)
            )
        except BaseException:
            await asyncio.shield(self._give_up(voice.user_id, attempt, name))
            raise
        if held is None or new not in held.blobs:
            # Erased, evicted or taken for dead meanwhile.
            await self._give_up(voice.user_id, attempt, name)
            return False
        if held.leftovers == (Leftover((old.name,)),):
            await self._blobs.delete(old.name)
            await self._voices.replace(held, held.cleaned(self._clock()))
        return True

    async def _stored(
        self, user_id: str, attempt: Attempt, change: Callable[[Voice, datetime], Voice]
    ) -> Voice | None:
        """The attempt's end, made of what is there by now; None when it has ended already."""
        while (voice := await self._voices.get(user_id)).is_claimed_by(attempt.attempt_id):
            made = change(voice, self._clock())
            if await self._voices.replace(voice, made):
                return made
        return None

    async def _give_up(self, user_id: str, attempt: Attempt, name: str) -> None:
        """What was made is removed only if no document names it: the answer alone may have been lost."""
        await self._stored(user_id, attempt, lambda there, now: there.abandoned(now))
        if name not in {blob.name for blob in (await self._voices.get(user_id)).blobs}:
            await self._blobs.delete(name)


def _lost(blob: SealedBlob, error: BlobMissing | BlobSealed) -> _Outcome:
    """Somebody must look at the blob store."""
    outcome = _Outcome.MISSING if isinstance(error, BlobMissing) else _Outcome.UNOPENED
    log.error("voice_blob_lost", blob=blob.name, key_id=blob.key_id, cause=outcome.value)
    return outcome
