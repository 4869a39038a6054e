"""One bounded JSON call to a text model's provider, with its failures in our words."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from services.content.domain import ModelUnavailable

# An answer is a sentence and some bookkeeping; whoever sends more is not the provider we know.
MOST_BYTES = 256 * 1024
_CAUSES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "key_refused",
    HTTPStatus.FORBIDDEN: "key_refused",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
}


async def post_json(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], headers: Mapping[str, str], seconds: float
) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer that says something about the request: 200, 400 or 422."""
    try:
        async with asyncio.timeout(seconds):
            async with http.stream("POST", path, json=body, headers=dict(headers)) as response:
                if response.status_code not in {200, 400, 422}:
                    raise _unavailable(response.status_code)
                return response.status_code, _parsed(await _bounded(response))
    except TimeoutError as error:
        raise ModelUnavailable("The text model took too long.", "timeout") from error
    except httpx.TimeoutException as error:
        raise ModelUnavailable("The text model took too long.", "timeout") from error
    except httpx.HTTPError as error:
        raise ModelUnavailable("The text model cannot be reached.", "connection") from error


def unreadable() -> ModelUnavailable:
    return ModelUnavailable("The text model's answer cannot be read.", "unreadable")


def rejected() -> ModelUnavailable:
    """The provider calls our own request wrong: a setting or the code must change."""
    return ModelUnavailable("The text model did not accept the request.", "request_rejected")


def _unavailable(status: int) -> ModelUnavailable:
    cause = _CAUSES.get(status, "server_error")
    return ModelUnavailable("The text model cannot answer right now.", cause)


async def _bounded(response: httpx.Response) -> bytes:
    read = bytearray()
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > MOST_BYTES:
            raise unreadable()
    return bytes(read)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise unreadable() from error
    if not isinstance(found, dict):
        raise unreadable()
    return found
