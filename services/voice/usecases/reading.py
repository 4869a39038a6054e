"""Hearing the stored sample again."""

from services.kernel.caller import UserNotFound
from services.voice.domain import BlobMissing, Clone, Sample, Voice, VoiceSampleNotFound
from services.voice.keeping import READINGS, lost
from services.voice.ports import Blobs, Voices


class Reading:
    def __init__(self, voices: Voices, blobs: Blobs) -> None:
        self._voices = voices
        self._blobs = blobs

    async def voice(self, user_id: str) -> Voice:
        return await self._voices.get(user_id)

    async def voice_of_another(self, user_id: str) -> Voice:
        """For administrators. Raises UserNotFound, also for who never had a voice: here they are nobody."""
        voice = await self._voices.get(user_id)
        if not voice.revision:
            raise UserNotFound("There is no voice of such a user.")
        return voice

    async def sample(self, user_id: str) -> tuple[Sample, Clone | None, bytes]:
        """The user's sample as it is stored, with its clone and its MP3. Raises VoiceSampleNotFound."""
        for _ in range(READINGS):
            voice = await self._voices.get(user_id)
            if voice.sample is None:
                raise VoiceSampleNotFound("There is no voice sample.")
            try:
                return voice.sample, voice.clone, await self._blobs.get(voice.sample.audio)
            except BlobMissing:
                continue
        raise lost(voice)
