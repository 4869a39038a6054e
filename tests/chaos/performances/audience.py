"""Those who perform meanwhile: with keys and without, in pairs, impatient, and again when unanswered."""

import asyncio
import base64
import time
from itertools import count
from random import Random
from typing import Final
from urllib.parse import unquote
from uuid import uuid4

import httpx

from tests.chaos.performances.history import Answer, History, Request
from tests.chaos.performances.site import Owner, Site

# As the shipped client has it.
_PATIENCE_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.15
_numbers = count(1)


class Spectacle:
    """One user's evening in one run."""

    def __init__(self, site: Site, owner: Owner, history: History, chance: Random) -> None:
        self._url = site.stack.url
        self._owner = owner
        self._history = history
        self._chance = chance
        self._token = owner.performer.http.headers["authorization"]

    async def go_on(self, until: float) -> None:
        """One performance after another."""
        while time.time() < until:
            request = self._new()
            if request.key and self._chance.random() < 0.2:
                # Two phones, or one that asks twice.
                await asyncio.gather(self._asked(request), self._asked(request))
            elif self._chance.random() < 0.2:
                await self._asked(request, self._chance.uniform(0.01, 0.6))
            else:
                await self._asked(request)
            answers = 0
            while request.answers[-1].asks_again and time.time() < until and answers < 4:
                answers += 1
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._asked(request)

    async def insist(self, request: Request, until: float) -> None:
        """In calm, until there is an outcome."""
        while request.answers[-1].asks_again and time.time() < until:
            await asyncio.sleep(_PAUSE_SECONDS)
            await self._asked(request)

    def _new(self) -> Request:
        key = str(uuid4()) if self._chance.random() < 0.7 else ""
        user_id, streamed = self._owner.performer.user_id, self._chance.random() < 0.5
        request = Request(user_id, f"number {next(_numbers)}x{self._chance.randrange(10**6)}", key, streamed)
        self._history.requests.append(request)
        return request

    async def _asked(self, request: Request, patience: float = _PATIENCE_SECONDS) -> None:
        answer = Answer(time.time())
        request.answers.append(answer)
        headers = {"authorization": self._token} | ({"idempotency-key": request.key} if request.key else {})
        body = {"routine_type": "text-input", "value": request.value}
        path = "/v1/perform:stream" if request.streamed else "/v1/perform"
        try:
            # A connection of its own: what happens to one request must not happen to the next.
            async with (
                asyncio.timeout(patience),
                httpx.AsyncClient(base_url=self._url, timeout=_PATIENCE_SECONDS) as http,
                http.stream("POST", path, json=body, headers=headers) as response,
            ):
                read = b"".join([piece async for piece in response.aiter_bytes()])
                _note(answer, response, read, streamed=request.streamed)
        except (httpx.HTTPError, TimeoutError):
            answer.lost = True
        finally:
            answer.ended = time.time()


def _note(answer: Answer, response: httpx.Response, read: bytes, *, streamed: bool) -> None:
    if not response.is_success:
        answer.status = response.status_code
        answer.error = _error(response, read)
        return
    if streamed:
        answer.recording_id = response.headers["recording-id"]
        answer.text = unquote(response.headers["voice-note-text"])
        answer.voice_source = response.headers["voice-source"]
        answer.audio = read
    else:
        told = httpx.Response(200, content=read).json()
        answer.recording_id = told["recording_id"]
        answer.text = told["text"]
        answer.voice_source = told["voiceSource"]
        answer.audio = base64.b64decode(told["audio_base64"])
    answer.status = response.status_code


def _error(response: httpx.Response, read: bytes) -> str:
    try:
        return str(httpx.Response(response.status_code, content=read).json()["error"])
    except (ValueError, KeyError):
        return f"not our shape: {read[:80]!r}"
