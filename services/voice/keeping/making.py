"""Making one clone: at the preferred provider when it gives a place, else by the embedded engine."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from services.kernel.errors import ServiceError
from services.voice.domain import Attempt, Clone, Voice, VoiceSlotsExhausted
from services.voice.keeping.surroundings import Surroundings
from services.voice.pool import NO_VOICE, Admission
from services.voice.ports import (
    ClonedVoice,
    CloneOutcomeUnknown,
    NormalisedSample,
    Provider,
    ProviderAddsSpent,
    ProviderPlacesTaken,
)

# After these there is no voice at the provider to speak in now; another engine's may be made instead.
NOT_THERE: Final = (VoiceSlotsExhausted, CloneOutcomeUnknown, *NO_VOICE)


@dataclass(frozen=True, slots=True)
class Made:
    by: Provider
    voice: ClonedVoice


class Making:
    def __init__(self, around: Surroundings) -> None:
        self._preferred = around.preferred
        self._embedded = around.embedded
        self._blobs = around.blobs
        self._pool = around.pool
        self._clock = around.clock

    async def at_preferred(self, claimed: Voice, sample: NormalisedSample) -> Made:
        """Raises one of NOT_THERE when there is no place, or when no voice is known to have been made."""
        attempt = claimed.claim
        if self._pool is None:
            return await self._made(self._preferred, claimed.user_id, attempt, sample)
        admission = await self._pool.admit(claimed)
        if not admission.admitted:
            raise exhausted(admission)
        try:
            return await self._made(self._preferred, claimed.user_id, attempt, sample)
        except NO_VOICE as error:
            # When this fails, the reconciler finds a place without a voice.
            with suppress(ServiceError):
                await asyncio.shield(self._pool.withdraw(attempt.attempt_id, error))
            raise
        except CloneOutcomeUnknown:
            found = await self._pool.find(attempt.attempt_id)
            if not found:
                raise
            return Made(self._preferred, ClonedVoice(found))

    async def at_embedded(self, user_id: str, attempt: Attempt, sample: NormalisedSample) -> Made:
        """By the engine that the overflow speaks with."""
        return await self._made(self._embedded, user_id, attempt, sample)

    async def clone_of(self, made: Made, attempt: Attempt) -> Clone:
        """With its profile stored, if it has one."""
        clone = self.described(made, attempt)
        if not made.voice.profile:
            return clone
        return replace(clone, profile=await self._blobs.put(attempt.profile_name, made.voice.profile))

    def described(self, made: Made, attempt: Attempt) -> Clone:
        by, named = made.by, made.voice.engine_voice_id
        return Clone(
            clone_id=attempt.attempt_id,
            provider=by.name,
            engine=by.engine,
            engine_voice_id=named,
            voice_source=by.voice_source,
            in_pool=by.pooled,
            profile=None,
            made_at=self._clock(),
        )

    async def _made(
        self, provider: Provider, user_id: str, attempt: Attempt, sample: NormalisedSample
    ) -> Made:
        return Made(provider, await provider.clone(sample, user_id, attempt.attempt_id))


def exhausted(refused: Admission | ServiceError) -> VoiceSlotsExhausted:
    message = "There is no place for the voice at the provider right now."
    return VoiceSlotsExhausted(message, refused.retry_after_seconds)


def for_caller(error: ServiceError) -> ServiceError:
    """That the plan is used up is our affair."""
    return exhausted(error) if isinstance(error, ProviderPlacesTaken | ProviderAddsSpent) else error
