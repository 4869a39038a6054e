"""Clones of the embedded engine: a profile that we keep and hand out, and nothing on another's side."""

from typing import Protocol

from services.voice.ports import ClonedVoice, NormalisedSample


class Enrolment(Protocol):
    async def enrol(self, engine: str, pcm: bytes, sample_rate: int) -> bytes: ...


class LocalProvider:
    name = "local"
    voice_source = "local_clone"
    pooled = False

    def __init__(self, synthesis: Enrolment, engine: str) -> None:
        self._synthesis = synthesis
        self.engine = engine

    async def clone(self, sample: NormalisedSample, user_id: str, attempt_id: str) -> ClonedVoice:
        profile = await self._synthesis.enrol(self.engine, sample.pcm, sample.sample_rate)
        return ClonedVoice(attempt_id, profile)

    async def discard(self, engine_voice_id: str) -> None:
        """The profile is a blob of ours and goes with the others."""
