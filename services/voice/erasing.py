"""Erasing a user: the voice, and every trace of who spoke in it."""

from dataclasses import dataclass

import structlog

from services.voice.domain import PinsUnavailable
from services.voice.keeping import Keeping
from services.voice.pool import Pool
from services.voice.ports import Answers, Pins, Voices
from services.voice.slots import Habits

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Erased:
    """What was found. Not `done` while something that was under way may still leave something, or a voice
    may still be at the provider."""

    samples: int
    clones: int
    blobs: int
    answers: int
    done: bool


@dataclass(frozen=True, slots=True)
class Traces:
    """Where else a user is known."""

    answers: Answers
    pins: Pins
    habits: Habits


class Erasing:
    def __init__(self, keeping: Keeping, traces: Traces, voices: Voices, pool: Pool | None = None) -> None:
        self._keeping = keeping
        self._traces = traces
        self._voices = voices
        self._pool = pool

    async def erase_voice(self, user_id: str) -> None:
        """The user stays. Safe to repeat; also ends an upload under way."""
        await self._keeping.erase(user_id)

    async def erase_user(self, user_id: str, erasure_id: str) -> Erased:
        """Safe to repeat."""
        before = await self._voices.get(user_id)
        await self._keeping.erase(user_id)
        forgotten = await self._forget_performing(user_id, erasure_id)
        answers = await self._traces.answers.forget(user_id)
        done = forgotten and (await self._voices.get(user_id)).empty
        if self._pool:
            # An add without an answer may have made a voice that no document names.
            done = done and not await self._pool.holds(user_id)
        log.info("user_erased", erasure_id=erasure_id, done=done)
        clones = sum(clone is not None for clone in (before.clone, before.standby))
        return Erased(int(before.sample is not None), clones, len(before.blobs), answers, done)

    async def _forget_performing(self, user_id: str, erasure_id: str) -> bool:
        """False when the cache is away: a habit would stay there for weeks."""
        try:
            await self._traces.pins.forget(user_id)
            await self._traces.habits.forget(user_id)
        except PinsUnavailable as error:
            log.warning("voice_habit_left", erasure_id=erasure_id, cause=str(error))
            return False
        return True
