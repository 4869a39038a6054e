"""The tone, except that it takes its time over anything about a tortoise: for callers who do not wait."""

import asyncio
from collections.abc import AsyncGenerator

from services.synthesis.domain import EnrolledVoice, Utterance
from services.synthesis.engines.tone import ToneEngine

SLOW = "the Tortoise"
SECONDS = 0.8


class Tortoise(ToneEngine):
    async def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        if SLOW in utterance.text:
            await asyncio.sleep(SECONDS)
        async for chunk in super().speak(utterance, voice):
            yield chunk
