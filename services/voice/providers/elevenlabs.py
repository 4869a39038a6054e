"""Clones at ElevenLabs: each takes one of a limited number of places, and one of a month's adds."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import stamina
import structlog

from services.kernel.errors import ServiceError
from services.kernel.settings import read_key_file
from services.voice.ports import (
    Allowance,
    ClonedVoice,
    CloneOutcomeUnknown,
    DiscardOutcomeUnknown,
    HeldVoice,
    NormalisedSample,
    ProviderAddsSpent,
    ProviderBusy,
    ProviderPlacesTaken,
    ProviderRefusedUs,
    ProviderUnavailable,
    ProviderVoiceMissing,
)

log = structlog.get_logger()

# The labels by which a voice is known to be ours, also when nobody got its name.
USER_LABEL: Final = "newvisions_user"
ATTEMPT_LABEL: Final = "newvisions_attempt"
# Two that share an account must not take each other's voices for their own.
INSTALLATION_LABEL: Final = "newvisions_installation"

_ATTEMPTS: Final = 3
_CONNECT_SECONDS: Final = 3.0
_IDLE_SECONDS: Final = 60.0
# Kept and used again: making one costs up to a second.
_CONNECTIONS: Final = 20
# The most that the provider puts on a page; one voice is about 3 kB.
_PAGE: Final = 100
_MOST_PAGES: Final = 1000
_MOST_BYTES: Final = 8 << 20

# The code of an error varies, also over time; its status does not.
_REFUSALS: Final[Mapping[str, tuple[type[ServiceError], str]]] = {
    "voice_limit_reached": (ProviderPlacesTaken, "All places for voices are taken."),
    "voice_add_edit_limit_reached": (ProviderAddsSpent, "No more voices can be made this month."),
    "voice_not_found": (ProviderVoiceMissing, "The voice is no longer there."),
    "too_many_concurrent_requests": (ProviderBusy, "The voice provider is busy."),
    "system_busy": (ProviderBusy, "The voice provider is busy."),
}
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class AnswerLost(Exception):
    """The request may have arrived, and what came of it is not known."""


class ElevenLabsProvider:
    name = "elevenlabs"
    engine = "elevenlabs"
    voice_source = "provider_voice_id"
    pooled = True

    def __init__(
        self, http: httpx.AsyncClient, seconds: float, clone_seconds: float, installation: str = ""
    ) -> None:
        """The client knows where the provider is and has our key in its headers. Voices that another
        `installation` made there are not ours.
        """
        self._http = http
        self._installation = installation
        self._seconds = seconds
        self._clone_seconds = clone_seconds

    async def clone(self, sample: NormalisedSample, user_id: str, attempt_id: str) -> ClonedVoice:
        """Never asked twice, because each may make a voice. Raises CloneOutcomeUnknown when one may exist,
        ProviderPlacesTaken and ProviderAddsSpent when none does.
        """
        fields = {
            "name": f"newvisions {attempt_id}",
            "labels": json.dumps(self._labels(user_id, attempt_id)),
        }
        files = {"files": ("sample.mp3", sample.mp3, "audio/mpeg")}
        try:
            answer = await self._ask("POST", "/v1/voices/add", self._clone_seconds, data=fields, files=files)
            return ClonedVoice(_string(answer, "voice_id"))
        except AnswerLost as lost:
            log.warning("voice_clone_outcome_lost", attempt_id=attempt_id, cause=str(lost))
            raise CloneOutcomeUnknown("It is not known whether the voice was made.") from lost

    def _labels(self, user_id: str, attempt_id: str) -> dict[str, str]:
        own = {INSTALLATION_LABEL: self._installation} if self._installation else {}
        return {USER_LABEL: user_id, ATTEMPT_LABEL: attempt_id, **own}

    async def discard(self, engine_voice_id: str) -> None:
        """Raises DiscardOutcomeUnknown when the voice may still be there or may yet disappear."""
        lost: AnswerLost | None = None
        try:
            async for attempt in _attempts():
                with attempt:
                    try:
                        await self._ask("DELETE", f"/v1/voices/{_segment(engine_voice_id)}", self._seconds)
                    except AnswerLost as error:
                        lost = error
                        raise
        except ProviderVoiceMissing:
            return
        except (AnswerLost, ProviderBusy, ProviderUnavailable, ProviderRefusedUs) as error:
            if lost is None:
                raise
            log.warning("voice_discard_outcome_lost", engine_voice_id=engine_voice_id, cause=str(lost))
            raise DiscardOutcomeUnknown("It is not known whether the voice was removed.") from error

    async def rename(self, engine_voice_id: str, name: str) -> None:
        path = f"/v1/voices/{_segment(engine_voice_id)}/edit"
        try:
            # As a file without a name: the provider takes multipart only, and there is no file to send.
            await self._ask("POST", path, self._seconds, files={"name": (None, name)})
        except AnswerLost as lost:
            raise ProviderUnavailable(
                "The voice provider did not say whether it renamed the voice."
            ) from lost

    async def held(self) -> list[HeldVoice]:
        """Without the vendor's own voices, which every account sees."""
        voices: list[HeldVoice] = []
        asked: dict[str, str | int] = {
            "page_size": _PAGE,
            "category": "cloned",
            "include_total_count": "false",
        }
        for _ in range(_MOST_PAGES):
            page = await self._read("/v2/voices", asked)
            try:
                found = [voice for voice in page["voices"] if voice["category"] == "cloned"]
                voices += [_held(voice, self._installation) for voice in found]
                if not page["has_more"]:
                    return voices
                asked["next_page_token"] = _string(page, "next_page_token")
            except (KeyError, TypeError, AttributeError, AnswerLost) as error:
                raise ProviderUnavailable("The voice provider's list cannot be read.") from error
        raise ProviderUnavailable("The voice provider's list has no end.")

    async def has(self, engine_voice_id: str) -> bool:
        try:
            await self._read(f"/v1/voices/{_segment(engine_voice_id)}", {})
        except ProviderVoiceMissing:
            return False
        return True

    async def allowance(self) -> Allowance:
        found = await self._read("/v1/user/subscription", {})
        try:
            return _allowance(found)
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderUnavailable("The voice provider's answer cannot be read.") from error

    async def _read(self, path: str, query: Mapping[str, str | int]) -> dict[str, Any]:
        try:
            async for attempt in _attempts():
                with attempt:
                    return await self._ask("GET", path, self._seconds, params=query)
        except AnswerLost as lost:
            raise ProviderUnavailable("The voice provider does not answer.") from lost
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self, method: str, path: str, seconds: float, **content: Any) -> dict[str, Any]:
        """Once. Raises AnswerLost when it may have taken effect; after any other error it has not."""
        try:
            async with asyncio.timeout(seconds), self._http.stream(method, path, **content) as response:
                code, body = response.status_code, await _bounded(response)
        except _NOT_SENT as error:
            raise ProviderUnavailable("The voice provider cannot be reached.") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise AnswerLost(type(error).__name__) from error
        if code >= 500 or code == httpx.codes.REQUEST_TIMEOUT:
            raise AnswerLost(f"status {code}")
        if code != httpx.codes.OK:
            raise _refusal(method, code, body)
        return _parsed(body)


@asynccontextmanager
async def open_elevenlabs(
    base_url: str, key_file: Path, *, seconds: float = 5, clone_seconds: float = 12, installation: str = ""
) -> AsyncIterator[ElevenLabsProvider]:
    """Raises SettingUnusable when the file holds no key."""
    key = read_key_file("VOICE_ELEVENLABS_API_KEY_FILE", key_file)
    async with httpx.AsyncClient(
        base_url=base_url,
        headers={"xi-api-key": key},
        http2=True,
        timeout=httpx.Timeout(max(seconds, clone_seconds), connect=_CONNECT_SECONDS),
        limits=httpx.Limits(
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        ),
    ) as http:
        yield ElevenLabsProvider(http, seconds, clone_seconds, installation)


def _attempts() -> Any:
    """For what may be asked again: it reads only, or is done when it was done before."""
    again = (AnswerLost, ProviderBusy, ProviderUnavailable)
    return stamina.retry_context(on=again, attempts=_ATTEMPTS, wait_initial=0.2, wait_max=2, wait_jitter=0.3)


def _segment(engine_voice_id: str) -> str:
    """An id that can stand in a path; any other is no voice of this provider."""
    if not engine_voice_id.isascii() or not engine_voice_id.isalnum():
        raise ProviderVoiceMissing("The voice is no longer there.")
    return engine_voice_id


async def _bounded(response: httpx.Response) -> bytes:
    read = bytearray()
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > _MOST_BYTES:
            raise AnswerLost("endless answer")
    return bytes(read)


def _refusal(method: str, code: int, body: bytes) -> ServiceError:
    status = _status(body)
    if status not in _REFUSALS and method == "DELETE" and code == httpx.codes.NOT_FOUND:
        status = "voice_not_found"
    if status not in _REFUSALS and code == httpx.codes.TOO_MANY_REQUESTS:
        status = "system_busy"
    if status in _REFUSALS:
        kind, message = _REFUSALS[status]
        return kind(message)
    log.error("voice_provider_refused_us", method=method, code=code, status=status[:60])
    return ProviderRefusedUs("The voice provider did not accept the request.")


def _status(body: bytes) -> str:
    """Empty when there is none; a list of complaints about our fields has none."""
    try:
        detail = json.loads(body)["detail"]
        return detail["status"] if isinstance(detail["status"], str) else ""
    except (ValueError, KeyError, TypeError, IndexError):
        return ""


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise AnswerLost("unreadable answer") from error
    if not isinstance(found, dict):
        raise AnswerLost("unreadable answer")
    return found


def _string(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise AnswerLost(f"answer without {name}")
    return value


def _held(voice: Mapping[str, Any], installation: str) -> HeldVoice:
    labels = voice.get("labels") or {}
    if labels.get(INSTALLATION_LABEL, "") != installation:
        labels = {}
    made = voice.get("created_at_unix")
    return HeldVoice(
        _string(voice, "voice_id"),
        voice.get("name") or "",
        labels.get(USER_LABEL, ""),
        labels.get(ATTEMPT_LABEL, ""),
        datetime.fromtimestamp(made, UTC) if made else None,
    )


def _allowance(found: Mapping[str, Any]) -> Allowance:
    adds, renewed = found.get("max_voice_add_edits"), found.get("next_character_count_reset_unix")
    return Allowance(
        places=int(found["voice_limit"]),
        places_taken=int(found["voice_slots_used"]),
        adds=None if adds is None else int(adds),
        adds_spent=int(found["voice_add_edit_counter"]),
        renewed_at=datetime.fromtimestamp(renewed, UTC) if renewed else None,
    )
