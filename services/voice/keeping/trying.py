"""An attempt to change a voice: claimed, carried out, stored; or given up without a trace."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog

from services.voice.domain import (
    Attempt,
    BlobMissing,
    Voice,
    VoiceChangedMeanwhile,
    VoiceSampleNotFound,
    VoiceStoreUnavailable,
)
from services.voice.keeping.clearing import Clearing
from services.voice.keeping.making import Made
from services.voice.keeping.surroundings import Surroundings
from services.voice.ports import NormalisedSample

log = structlog.get_logger()

# A voice can be replaced between the reading of its document and of its blob, but hardly twice.
READINGS: Final = 3
_STORED_RATE: Final = 24_000


@dataclass(slots=True)
class Progress:
    made: Made | None = None


class Trying:
    def __init__(self, around: Surroundings, clearing: Clearing, attempt_lasts: timedelta) -> None:
        self._voices = around.voices
        self._blobs = around.blobs
        self._examiner = around.examiner
        self._clock = around.clock
        self._clearing = clearing
        self._attempt_lasts = attempt_lasts

    def attempt(self, provider: str, sample_hash: str) -> Attempt:
        return Attempt(str(uuid4()), provider, self._clock() + self._attempt_lasts, sample_hash)

    def is_changing(self, voice: Voice) -> bool:
        """Somebody else's change is to be waited for."""
        now = self._clock()
        return voice.is_claimed(now) or (voice.clone is not None and voice.clone.is_leaving(now))

    async def claimed(self, voice: Voice, attempt: Attempt) -> Voice | None:
        """With this attempt under way; None when somebody else is at it, or was faster."""
        if self.is_changing(voice):
            return None
        claimed = voice.claimed(attempt, self._clock())
        return claimed if await self._voices.replace(voice, claimed) else None

    @asynccontextmanager
    async def carrying_out(self, claimed: Voice) -> AsyncIterator[Progress]:
        """Whatever goes wrong inside, nothing of what was made is left without an owner."""
        progress = Progress()
        try:
            yield progress
        except BaseException as failure:
            await asyncio.shield(self._clearing.give_up(claimed, progress.made, failure))
            raise

    async def stored(self, claimed: Voice, change: Callable[[Voice, datetime], Voice]) -> Voice:
        """The attempt's outcome, made of what is there by now: others may have changed the rest."""
        attempt = claimed.claim
        while True:
            voice = await self._voices.get(claimed.user_id)
            if not voice.is_claimed_by(attempt.attempt_id):
                raise VoiceChangedMeanwhile("The voice was erased or replaced meanwhile.")
            made = change(voice, self._clock())
            if await self._voices.replace(voice, made):
                return made

    async def sample_of(self, voice: Voice, *, with_sound: bool) -> NormalisedSample:
        """The stored sample as a provider takes it. Its sound as PCM costs a second of a core."""
        for _ in range(READINGS):
            kept = voice.sample
            if kept is None:
                raise VoiceSampleNotFound("There is no voice sample.")
            try:
                mp3 = await self._blobs.get(kept.audio)
            except BlobMissing:
                # Replaced since the document was read.
                voice = await self._voices.get(voice.user_id)
                continue
            if with_sound:
                return replace(await self._examiner.reread(mp3), hash=kept.hash)
            return NormalisedSample(kept.hash, b"", _STORED_RATE, mp3, kept.seconds, kept.transcoded)
        raise lost(voice)


def lost(voice: Voice) -> VoiceStoreUnavailable:
    """A document names a blob that is not there: somebody must look at the blob store."""
    log.error("voice_blob_lost", revision=voice.revision)
    return VoiceStoreUnavailable("The voice cannot be read right now.")
