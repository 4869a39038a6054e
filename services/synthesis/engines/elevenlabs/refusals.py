"""What the provider says when it does not speak, in our words."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import httpx
import structlog

from services.kernel.errors import Kind, ServiceError
from services.synthesis.domain import (
    EngineOverloaded,
    EngineUnavailable,
    ProviderClosedToUs,
    ProviderVoiceMissing,
    SpeechFailed,
)

log = structlog.get_logger()

_MOST_ERROR_BYTES: Final = 64 << 10
# What stands before the provider's servers found none that takes the request.
_NOT_TAKEN: Final = frozenset({httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE})


class VoicesMadeElsewhere(ServiceError):
    kind, reason = Kind.INVALID, "VOICES_MADE_ELSEWHERE"
    action = "Make the voice at the speech provider."


class NotTaken(EngineUnavailable):
    """The request reached nobody who speaks: nothing is paid for, and asking again at once may help. Of any
    other failure nobody knows."""


class ProviderBusy(EngineOverloaded):
    """The provider as a whole, not our own share of it: asking again in a moment helps."""


class NoSeatLeft(EngineOverloaded):
    """As many of us speak there as the plan allows: asking again helps when one of them has ended."""


async def check(response: httpx.Response) -> None:
    """Whether audio follows."""
    if response.status_code != httpx.codes.OK:
        raise _refusal(response.status_code, await _bounded(response))
    if response.headers.get("content-type", "").startswith(("text/", "application/json")):
        raise SpeechFailed("The speech provider sent something that is no speech.")


async def _bounded(response: httpx.Response) -> bytes:
    """What there is of an error's body; it may be cut off like any other."""
    read = bytearray()
    with suppress(httpx.HTTPError):
        async for chunk in response.aiter_bytes():
            read += chunk
            if len(read) > _MOST_ERROR_BYTES:
                break
    return bytes(read)


def _refusal(code: int, body: bytes) -> ServiceError:
    """By status: the code of an error varies, also over time."""
    status = _status(body)
    if status not in _REFUSALS and code == httpx.codes.TOO_MANY_REQUESTS:
        status = "system_busy"
    if status not in _REFUSALS and code in _NOT_TAKEN:
        return NotTaken("The speech provider cannot be reached.")
    if status not in _REFUSALS and code >= 500:
        return EngineUnavailable("The speech provider has a problem.")
    kind, message = _REFUSALS.get(status, _NOT_ACCEPTED)
    if kind is ProviderClosedToUs:
        log.error("speech_provider_refused_us", code=code, status=status[:60])
    return kind(message)


def _status(body: bytes) -> str:
    try:
        detail = json.loads(body)["detail"]
        return detail["status"] if isinstance(detail["status"], str) else ""
    except (ValueError, KeyError, TypeError, IndexError):
        return ""


_NOT_ACCEPTED: Final = (ProviderClosedToUs, "The speech provider did not accept the request.")
_REFUSALS: Final[Mapping[str, tuple[type[ServiceError], str]]] = {
    "too_many_concurrent_requests": (NoSeatLeft, "All our seats at the speech provider are taken."),
    "system_busy": (ProviderBusy, "The speech provider is busy."),
    "voice_not_found": (ProviderVoiceMissing, "The voice is no longer at the speech provider."),
    "quota_exceeded": (ProviderClosedToUs, "The speech provider's quota is spent."),
}
