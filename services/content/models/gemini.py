"""Writes notes with Gemini over its REST interface."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import httpx

from services.content.domain import Brief, ModelUnavailable
from services.content.models.prompt import MOST_TOKENS, TEMPERATURE, Prompts
from services.content.models.wire import (
    RequestRejected,
    events,
    failed,
    pieces,
    refused,
    rejected,
)

_REFUSALS = frozenset({"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"})
# These say nothing about the value: its own text came too close to something it had read, or it thinks that
# it was asked in a language that it cannot write. Another model writes on.
_GIVEN_UP = {"RECITATION": "recitation", "LANGUAGE": "language"}
# Values are film titles, names of strangers and things people dislike; the mildest filter still holds.
_SAFETY = [
    {"category": f"HARM_CATEGORY_{harm}", "threshold": "BLOCK_ONLY_HIGH"}
    for harm in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]
_GENERATION = {
    "temperature": TEMPERATURE,
    "maxOutputTokens": MOST_TOKENS,
    "candidateCount": 1,
    # With thinking on, the first token comes after many seconds.
    "thinkingConfig": {"thinkingBudget": 0},
}


class GeminiModel:
    name = "gemini"

    def __init__(
        self, http: httpx.AsyncClient, key: str, model: str, prompts: Prompts, seconds: float
    ) -> None:
        self._http = http
        # A header, not a query parameter: URLs end up in logs.
        self._headers = {"x-goog-api-key": key}
        self._path = f"v1beta/models/{model}:streamGenerateContent?alt=sse"
        self._prompts = prompts
        self.seconds = seconds
        self.languages = prompts.languages

    async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
        told = self._prompts.of(brief)
        body = {
            "systemInstruction": {"parts": [{"text": told.system}]},
            "contents": [{"role": "user", "parts": [{"text": told.user}]}],
            "generationConfig": _GENERATION,
            "safetySettings": _SAFETY,
        }
        answers = events(self._http, self._path, body, self._headers)
        try:
            async with aclosing(pieces(answers, _read)) as note:
                async for piece in note:
                    yield piece
        except RequestRejected as error:
            raise _why(error.answer) from error


def _why(answer: Mapping[str, Any]) -> ModelUnavailable:
    error = answer.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    # A wrong key is a 400 here.
    return failed(HTTPStatus.UNAUTHORIZED) if "API key" in str(message) else rejected()


def _read(answer: dict[str, Any]) -> tuple[str, bool]:
    if "error" in answer:
        raise failed(answer["error"].get("code"))
    if answer.get("promptFeedback", {}).get("blockReason"):
        raise refused()
    # Bookkeeping comes without candidates.
    candidate = (answer.get("candidates") or [{}])[0]
    ended = candidate.get("finishReason")
    if ended in _REFUSALS:
        raise refused()
    if ended in _GIVEN_UP:
        raise ModelUnavailable("The text model broke off.", _GIVEN_UP[ended])
    # The last event of a stream may tell only why it ended.
    parts = candidate.get("content", {}).get("parts", [])
    said = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    return said, bool(ended)
