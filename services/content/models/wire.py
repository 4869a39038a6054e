"""One streamed answer of a text model's provider, with its failures in our words."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

import httpx

from services.content.domain import ModelRefused, ModelUnavailable

# An answer is a sentence and some bookkeeping; whoever sends more is not the provider we know.
MOST_BYTES = 256 * 1024
_CAUSES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "request_rejected",
    HTTPStatus.UNPROCESSABLE_ENTITY: "request_rejected",
    HTTPStatus.UNAUTHORIZED: "key_refused",
    HTTPStatus.FORBIDDEN: "key_refused",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
}
_END = "[DONE]"
# A new connection costs more than this, a note that waits is worth no more.
_READ_OUT_SECONDS = 0.05


class RequestRejected(Exception):
    """The provider answered with an error about this very request; what it says may be a refusal."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__("the provider rejected the request")
        self.answer = answer


async def events(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of a server-sent stream, up to its end or its end marker.

    A server that knows no streams and answers with one object is understood as well.
    """
    try:
        async with http.stream("POST", path, json=body, headers=dict(headers)) as response:
            if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
                raise RequestRejected(await _reason(response))
            if response.status_code != HTTPStatus.OK:
                raise failed(response.status_code)
            async with aclosing(_data(response)) as data:
                async for said in data:
                    if said == _END:
                        await _read_out(data)
                        return
                    yield _object(said)
    except httpx.TimeoutException as error:
        raise ModelUnavailable("The text model took too long.", "timeout") from error
    except httpx.HTTPError as error:
        raise ModelUnavailable("The text model cannot be reached.", "connection") from error


async def pieces(
    answers: AsyncGenerator[dict[str, Any], None], read: Callable[[dict[str, Any]], tuple[str, bool]]
) -> AsyncGenerator[str, None]:
    """The note as it is written. `read` tells what an answer adds, and whether it is the last one."""
    said = finished = False
    try:
        async with aclosing(answers):
            async for answer in answers:
                text, last = read(answer)
                said, finished = said or bool(text), finished or last
                if text:
                    yield text
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise unreadable() from error
    if not said:
        raise unreadable()
    if not finished:
        raise ModelUnavailable("The text model stopped in the middle.", "cut_off")


def failed(status: object) -> ModelUnavailable:
    """By HTTP status, whether it came as the answer's status or in the middle of a stream."""
    cause = _CAUSES.get(status, "server_error") if isinstance(status, int) else "server_error"
    return ModelUnavailable("The text model cannot answer right now.", cause)


def unreadable() -> ModelUnavailable:
    return ModelUnavailable("The text model's answer cannot be read.", "unreadable")


def rejected() -> ModelUnavailable:
    """The provider calls our own request wrong: a setting or the code must change."""
    return ModelUnavailable("The text model did not accept the request.", "request_rejected")


def refused() -> ModelRefused:
    return ModelRefused("The text model will not write about this value.")


async def _read_out(data: AsyncGenerator[str | bytes, None]) -> None:
    """A response that was read to its end leaves a connection that can be used again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_READ_OUT_SECONDS):
            async for _ in data:
                pass


async def _reason(response: httpx.Response) -> dict[str, Any]:
    with suppress(ModelUnavailable):
        return _object(await _whole(response))
    return {}


async def _data(response: httpx.Response) -> AsyncGenerator[str | bytes, None]:
    """What stands in each event's data, without names, ids and comments."""
    if "text/event-stream" not in response.headers.get("content-type", ""):
        yield await _whole(response)
        return
    event: list[str] = []
    async with aclosing(_lines(response)) as lines:
        async for line in lines:
            if line.startswith("data:"):
                event.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and event:
                yield "\n".join(event)
                event.clear()
    if event:
        yield "\n".join(event)


async def _lines(response: httpx.Response) -> AsyncGenerator[str, None]:
    """Split at line feeds only: a line of JSON may hold other characters that Python calls line ends."""
    rest = b""
    async with aclosing(_bounded(response)) as parts:
        async for part in parts:
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield _decoded(line)
    if rest:
        yield _decoded(rest)


def _decoded(line: bytes) -> str:
    try:
        return line.decode().removesuffix("\r")
    except UnicodeDecodeError as error:
        raise unreadable() from error


async def _whole(response: httpx.Response) -> bytes:
    async with aclosing(_bounded(response)) as parts:
        return b"".join([part async for part in parts])


async def _bounded(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    read = 0
    async for part in response.aiter_bytes():
        read += len(part)
        if read > MOST_BYTES:
            raise unreadable()
        yield part


def _object(raw: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise unreadable() from error
    if not isinstance(found, dict):
        raise unreadable()
    return found
