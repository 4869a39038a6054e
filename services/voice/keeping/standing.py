"""The embedded engine's clone of a sample, in which the overflow speaks."""

from dataclasses import dataclass

from services.voice.domain import Attempt, Clone, Voice, VoiceChangedMeanwhile, VoiceSampleNotFound
from services.voice.keeping.making import Made, Making
from services.voice.keeping.surroundings import Surroundings
from services.voice.keeping.trying import Trying
from services.voice.ports import NormalisedSample


@dataclass(frozen=True, slots=True)
class Standby:
    voice: Voice
    clone: Clone
    # Of a clone that could not be stored, because something else is under way.
    profile: bytes = b""


class StandingBy:
    def __init__(self, around: Surroundings, making: Making, trying: Trying) -> None:
        self._voices = around.voices
        self._provider = around.embedded.name
        self._making = making
        self._trying = trying

    async def stand_by(self, user_id: str, sample: NormalisedSample | None = None) -> Standby:
        """The one that is there, else one made of this sample, else of the stored one.

        Raises VoiceChangedMeanwhile when this sample is not the stored one any more.
        """
        voice = await self._voices.get(user_id)
        if sample and (voice.sample is None or voice.sample.hash != sample.hash):
            raise VoiceChangedMeanwhile("The voice was erased or replaced meanwhile.")
        if voice.embedded:
            return Standby(voice, voice.embedded)
        if voice.sample is None:
            raise VoiceSampleNotFound("There is no voice sample.")
        heard = sample or await self._trying.sample_of(voice, with_sound=True)
        attempt = self._trying.attempt(self._provider, voice.sample.hash)
        made = await self._making.at_embedded(user_id, attempt, heard)
        stored = await self._stored(voice, attempt, made)
        return stored or Standby(voice, self._making.described(made, attempt), made.voice.profile)

    async def _stored(self, heard: Voice, attempt: Attempt, made: Made) -> Standby | None:
        """None when something else is under way: it is not waited for, the performer is on stage."""
        voice = await self._voices.get(heard.user_id)
        if voice.sample != heard.sample or voice.embedded:
            return None
        claimed = await self._trying.claimed(voice, attempt)
        if claimed is None:
            return None
        async with self._trying.carrying_out(claimed) as progress:
            progress.made = made
            clone = await self._making.clone_of(made, attempt)
            held = await self._trying.stored(claimed, lambda seen, now: seen.standing_by(clone, now))
        return Standby(held, clone)
