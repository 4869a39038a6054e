"""Somebody is about to perform: their voice should be there by then."""

from services.voice.domain import Touched, Voice
from services.voice.keeping import Keeping, Surroundings
from services.voice.pool import Pool


class Touching:
    def __init__(self, around: Surroundings, keeping: Keeping) -> None:
        self._voices = around.voices
        self._clock = around.clock
        self._pool = around.pool
        self._keeping = keeping

    async def touch(self, user_id: str) -> Touched:
        """Waits for no clone."""
        voice = await self._voices.get(user_id)
        if self._pool is None:
            return self._embedded(voice)
        standing = await self._pool.touched(user_id)
        clone_id = voice.clone.clone_id if voice.clone else None
        status = await self._status(self._pool, voice)
        return Touched(status, clone_id, standing.position, standing.size, enabled=True)

    def _embedded(self, voice: Voice) -> Touched:
        clone = voice.embedded
        if voice.sample is None:
            return Touched("missing")
        if clone is None:
            return Touched("warming" if self._keeping.prefetch(voice.user_id) else "waiting")
        return Touched("ready", clone.clone_id)

    async def _status(self, pool: Pool, voice: Voice) -> str:
        if voice.sample is None:
            return "missing"
        if voice.clone_at(pool.provider.name, self._clock()):
            return "ready"
        admission = await pool.consider(voice.user_id, voice.sample.hash)
        # Also for who is given no place: then the overflow is prepared.
        begun = self._keeping.prefetch(voice.user_id)
        return "warming" if admission.admitted and begun else "waiting"
