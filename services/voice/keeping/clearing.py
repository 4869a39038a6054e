"""Removing what was replaced, abandoned or erased: by who left it, or by the sweeper."""

from dataclasses import replace
from typing import Final

import structlog

from services.kernel.errors import ServiceError
from services.voice.domain import Leftover, Voice, VoiceStoreUnavailable
from services.voice.keeping.making import Made
from services.voice.keeping.surroundings import Surroundings
from services.voice.ports import ProviderUnavailable

log = structlog.get_logger()

_SWEPT_AT_ONCE: Final = 32


class Clearing:
    def __init__(self, around: Surroundings) -> None:
        self._voices = around.voices
        self._blobs = around.blobs
        self._providers = around.providers
        self._pool = around.pool
        self._clock = around.clock

    async def erase(self, user_id: str) -> None:
        """Safe to repeat; also ends an attempt under way."""
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
            swept = voice
            if voice.attempt and not voice.is_claimed(self._clock()):
                swept = voice.abandoned(self._clock())
                if not await self._voices.replace(voice, swept):
                    continue
            await self.tidy(swept, at_once=False)
            log.warning("voice_leftovers_swept", leftovers=len(swept.leftovers))
        return len(due)

    async def tidy(self, voice: Voice, *, at_once: bool = True) -> None:
        """Remove what is left over, or leave it to the sweeper: the outcome stands either way."""
        try:
            await self._clean(voice, at_once=at_once)
        except ServiceError as error:
            log.warning("voice_leftovers_postponed", cause=error.reason, leftovers=len(voice.leftovers))

    async def give_up(self, claimed: Voice, made: Made | None, failure: BaseException) -> None:
        """What an attempt made is removed only after the document says that it failed."""
        attempt = claimed.claim
        # After any other failure a write may be under way, and land later.
        answered = isinstance(failure, ServiceError) and not isinstance(failure, VoiceStoreUnavailable)
        named = made.voice.engine_voice_id if made and made.by.name == attempt.provider else ""
        while (voice := await self._voices.get(claimed.user_id)).is_claimed_by(attempt.attempt_id):
            if await self._abandoned(voice, named, answered=answered):
                return
        if attempt.attempt_id not in _clones(voice):
            # Erased, or taken for dead and followed by another. Else only the database's answer was lost.
            await self._remove_unowned(claimed, named, voice)

    async def _abandoned(self, voice: Voice, named: str, *, answered: bool) -> bool:
        """False when somebody else changed the voice meanwhile."""
        abandoned = voice.abandoned(self._clock(), named, answered=answered)
        if not await self._voices.replace(voice, abandoned):
            return False
        await self.tidy(abandoned, at_once=False)
        return True

    async def _remove_unowned(self, claimed: Voice, named: str, voice: Voice) -> None:
        """What the attempt made; where its clone was taken away since then, the sample that it stored is
        still the user's."""
        left, kept = claimed.abandoned(self._clock(), named).leftovers[-1], {b.name for b in voice.blobs}
        await self._remove(replace(left, blobs=tuple(name for name in left.blobs if name not in kept)))

    async def _clean(self, voice: Voice, *, at_once: bool = True) -> None:
        """As much as can be; raises the first failure after all the rest is done."""
        if not voice.leftovers:
            return
        still: list[Leftover] = []
        failure: ServiceError | None = None
        for left in voice.leftovers:
            if left.must_wait(self._clock()) and not at_once:
                still.append(left)
                continue
            try:
                await self._remove(left)
            except ServiceError as error:
                failure = failure or error
                # Nobody speaks in it any more: it need not wait for that again.
                still.append(replace(left, not_before=None))
        await self._voices.replace(voice, voice.cleaned(self._clock(), still))
        if failure:
            raise failure

    async def _remove(self, left: Leftover) -> None:
        for name in left.blobs:
            await self._blobs.delete(name)
        if not left.engine_voice_id:
            return
        provider = self._providers.get(left.provider)
        if provider is None:
            log.error("voice_provider_unknown", provider=left.provider)
            raise ProviderUnavailable("The voice's provider is not configured here.")
        if provider.pooled and self._pool:
            await self._pool.discard(left)
        else:
            await provider.discard(left.engine_voice_id)


def _clones(voice: Voice) -> set[str]:
    return {clone.clone_id for clone in (voice.clone, voice.standby) if clone}
