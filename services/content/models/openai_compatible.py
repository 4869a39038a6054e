"""Writes notes with any server that speaks OpenAI's chat completions: Ollama, vLLM, llama.cpp, OpenAI."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from services.content.domain import Brief, ModelRefused, ModelUnavailable
from services.content.models.prompt import MOST_TOKENS, TEMPERATURE, Prompts
from services.content.models.wire import (
    RequestRejected,
    events,
    failed,
    pieces,
    refused,
    rejected,
    unreadable,
)

_REFUSAL_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})


class OpenAICompatibleModel:
    name = "openai"

    def __init__(
        self, http: httpx.AsyncClient, key: str, model: str, prompts: Prompts, seconds: float
    ) -> None:
        self._http = http
        # Local servers often want no key.
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._model = model
        self._prompts = prompts
        self.seconds = seconds
        self.languages = prompts.languages

    async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
        told = self._prompts.of(brief)
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": told.system},
                {"role": "user", "content": told.user},
            ],
            "max_tokens": MOST_TOKENS,
            "temperature": TEMPERATURE,
            "stream": True,
        }
        answers = events(self._http, "chat/completions", body, self._headers)
        try:
            async with aclosing(pieces(answers, _read)) as note:
                async for piece in note:
                    yield piece
        except RequestRejected as error:
            raise _why(error.answer) from error


def _read(answer: dict[str, Any]) -> tuple[str, bool]:
    if "error" in answer:
        raise _broken_off(answer["error"])
    # The account of tokens comes without choices.
    choice = (answer.get("choices") or [{}])[0]
    # A server that knows no streams sends a whole message instead of what was added.
    said = choice.get("delta") or choice.get("message") or {}
    ended = choice.get("finish_reason")
    if said.get("refusal") or ended == "content_filter":
        raise refused()
    content = said.get("content") or ""
    if not isinstance(content, str):
        raise unreadable()
    return content, bool(ended)


def _broken_off(error: Any) -> ModelRefused | ModelUnavailable:
    code = error.get("code") if isinstance(error, Mapping) else None
    return refused() if code in _REFUSAL_CODES else failed(code)


def _why(answer: Mapping[str, Any]) -> ModelRefused | ModelUnavailable:
    error = answer.get("error")
    if isinstance(error, Mapping) and error.get("code") in _REFUSAL_CODES:
        return refused()
    return rejected()
