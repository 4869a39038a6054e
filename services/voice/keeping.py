"""How voices are made, replaced and removed, so that nothing is lost or left behind, whatever dies."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog

from services.kernel.errors import ServiceError
from services.voice.domain import (
    Attempt,
    Clone,
    Consent,
    Leftover,
    Outcome,
    Sample,
    Voice,
    VoiceChangedMeanwhile,
)
from services.voice.ports import Blobs, ClonedVoice, NormalisedSample, Provider, Voices

log = structlog.get_logger()

# How often another replica's attempt is looked at while an upload waits for it.
_LOOK_AGAIN_SECONDS: Final = 0.1
_SWEPT_AT_ONCE: Final = 32


class Keeping:
    """Makes and removes voices, so that every blob and every clone belongs to a document at all times.

    An attempt is written down before it makes anything. Whatever is replaced, abandoned or erased is
    listed in the same document until it has been removed, by whoever left it or by the sweeper.
    """

    def __init__(
        self,
        voices: Voices,
        blobs: Blobs,
        providers: Mapping[str, Provider],
        attempt_lasts: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        """The first provider is the one that new clones are made by."""
        self._voices = voices
        self._blobs = blobs
        self._providers = providers
        self._preferred = next(iter(providers.values()))
        self._attempt_lasts = attempt_lasts
        self._clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def keep(self, user_id: str, sample: NormalisedSample, consent: Consent) -> Outcome:
        """Make the user's voice one of this sample. Raises VoiceChangedMeanwhile."""
        # Only spares uploads to this process the waiting below; the document decides who is first.
        async with self._turns.setdefault(user_id, asyncio.Lock()):
            while True:
                voice, now = await self._voices.get(user_id), self._clock()
                if voice.is_made_of(sample.hash, self._preferred.engine) and voice.sample and voice.clone:
                    return Outcome("unchanged", voice.sample, voice.clone)
                if voice.is_claimed(now):
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                    continue
                expires_at = now + self._attempt_lasts
                claimed = voice.claimed(Attempt(str(uuid4()), self._preferred.name, expires_at), now)
                if await self._voices.replace(voice, claimed):
                    return await self._carry_out(claimed, sample, consent)

    async def erase(self, user_id: str) -> None:
        """Safe to repeat; also ends an upload under way."""
        while True:
            voice = await self._voices.get(user_id)
            if voice.empty:
                return
            erased = voice.erased(self._clock())
            if await self._voices.replace(voice, erased):
                await self._clean(erased)
                log.info("voice_erased", voice_clone_id=voice.clone.clone_id if voice.clone else None)
                return

    async def sweep(self) -> int:
        """Finish what died half-way; returns how many voices were looked at."""
        due = await self._voices.due(self._clock(), _SWEPT_AT_ONCE)
        for voice in due:
            now, swept = self._clock(), voice
            if voice.attempt and not voice.is_claimed(now):
                swept = voice.abandoned(now)
                if not await self._voices.replace(voice, swept):
                    continue
            await self._tidy(swept)
            log.warning("voice_leftovers_swept", leftovers=len(swept.leftovers))
        return len(due)

    async def _carry_out(self, claimed: Voice, sample: NormalisedSample, consent: Consent) -> Outcome:
        attempt, made = claimed.attempt, ClonedVoice("")
        assert attempt is not None  # noqa: S101 - it was claimed
        try:
            # One after the other: a failure must not leave another half running behind the clean-up.
            audio = await self._blobs.put(attempt.audio_name, sample.mp3)
            made = await self._preferred.clone(sample, claimed.user_id, attempt.attempt_id)
            clone = await self._clone(attempt, made)
            kept = Sample(sample.hash, sample.seconds, len(sample.mp3), sample.transcoded, audio, consent)
            held = claimed.holding(kept, clone, self._clock())
            await self._commit(claimed, held)
        except BaseException:
            await asyncio.shield(self._give_up(claimed, attempt, made.engine_voice_id))
            raise
        await self._tidy(held)
        return Outcome("updated" if claimed.sample else "created", kept, clone)

    async def _clone(self, attempt: Attempt, made: ClonedVoice) -> Clone:
        provider = self._preferred
        profile = await self._blobs.put(attempt.profile_name, made.profile) if made.profile else None
        return Clone(
            attempt.attempt_id,
            provider.name,
            provider.engine,
            made.engine_voice_id,
            provider.voice_source,
            provider.pooled,
            profile,
            self._clock(),
        )

    async def _commit(self, claimed: Voice, held: Voice) -> None:
        if not await self._voices.replace(claimed, held):
            raise VoiceChangedMeanwhile("The voice was erased or replaced during this upload.")

    async def _give_up(self, claimed: Voice, attempt: Attempt, engine_voice_id: str) -> None:
        """What an attempt made is removed only after the document says that it failed."""
        abandoned = claimed.abandoned(self._clock(), engine_voice_id)
        if await self._voices.replace(claimed, abandoned):
            await self._tidy(abandoned)
            return
        now_there = await self._voices.get(claimed.user_id)
        if now_there.clone and now_there.clone.clone_id == attempt.attempt_id:
            # Stored after all: only the answer of the database was lost.
            return
        # Erased, or taken for dead and followed by another.
        await self._remove(abandoned.leftovers[-1])

    async def _tidy(self, voice: Voice) -> None:
        """Remove what is left over, or leave it to the sweeper: the outcome stands either way."""
        try:
            await self._clean(voice)
        except ServiceError as error:
            log.warning("voice_leftovers_postponed", cause=error.reason, leftovers=len(voice.leftovers))

    async def _clean(self, voice: Voice) -> None:
        if not voice.leftovers:
            return
        for left in voice.leftovers:
            await self._remove(left)
        await self._voices.replace(voice, voice.cleaned(self._clock()))

    async def _remove(self, left: Leftover) -> None:
        if left.engine_voice_id:
            await self._providers[left.provider].discard(left.engine_voice_id)
        for name in left.blobs:
            await self._blobs.delete(name)
