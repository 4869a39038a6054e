"""Speaking in the leased voice; in another one when the provider has lost it, or is away."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.kernel.errors import ServiceError
from services.perform.domain import AudioSummary, Delivery, LeasedVoice, Speaker
from services.perform.errors import ENGINE_AWAY, VoiceMissing
from services.perform.ports import Ports
from services.perform.script import Script

log = structlog.get_logger()

MISSING_VOICES = Counter(
    "perform_missing_voices_total", "Leased voices that the speech provider no longer had."
)
OVERFLOWED = Counter(
    "perform_overflowed_voices_total", "Memos in the overflow's voice, for the leased one's engine was away."
)


@dataclass(frozen=True, slots=True)
class Words:
    """What to say for whom, and under which id credits and voice are held for it."""

    performance_id: UUID
    user_id: str
    script: Script
    delivery: Delivery


async def speak_or_replace_voice(
    ports: Ports, words: Words, voice: LeasedVoice
) -> AsyncGenerator[LeasedVoice | Speaker | bytes | AudioSummary, None]:
    """Who speaks, audio as it is made, then what was made; before that the voice, if it is another than the
    leased one.

    Only as long as nothing was heard: nobody changes voices in the middle. Consume inside `aclosing`.
    """
    heard = False
    try:
        async with aclosing(_speak_once(ports, words, voice)) as pieces:
            async for piece in pieces:
                heard = True
                yield piece
        return
    except ServiceError as error:
        if heard:
            raise
        failure = error
    other = await _another(ports, words, voice, failure)
    yield other
    async with aclosing(_speak_once(ports, words, other)) as pieces:
        async for piece in pieces:
            yield piece


def _speak_once(
    ports: Ports, words: Words, voice: LeasedVoice
) -> AsyncGenerator[Speaker | bytes | AudioSummary, None]:
    return ports.speech.speak(words.script, voice, words.delivery, words.performance_id)


async def _another(ports: Ports, words: Words, failed: LeasedVoice, failure: ServiceError) -> LeasedVoice:
    """Raises the failure when no other voice helps."""
    if isinstance(failure, VoiceMissing):
        return await _made_again(ports, words, failed)
    # Whoever named a model gets that one or none.
    if failure.reason != ENGINE_AWAY or not failed.at_provider or words.delivery.model:
        raise failure
    try:
        other = await ports.voices.lease_overflow(words.user_id, words.performance_id)
    except ServiceError as refused:
        raise failure from refused
    if other.at_provider:
        raise failure
    OVERFLOWED.inc()
    log.warning("voice_overflowed", performance_id=str(words.performance_id), engine=failed.engine)
    return other


async def _made_again(ports: Ports, words: Words, lost: LeasedVoice) -> LeasedVoice:
    """Cloned again, or the overflow, as the voice service has it."""
    await ports.voices.report_missing(words.user_id, lost)
    MISSING_VOICES.inc()
    log.warning("voice_missing_reported", performance_id=str(words.performance_id), engine=lost.engine)
    return await ports.voices.lease(words.user_id, words.performance_id)
