"""Writes notes with any server that speaks OpenAI's chat completions: Ollama, vLLM, llama.cpp, OpenAI."""

from typing import Any

import httpx

from services.content.domain import Brief, ModelRefused
from services.content.models.prompt import MOST_TOKENS, TEMPERATURE, Prompt
from services.content.models.wire import post_json, rejected, unreadable

_REFUSAL_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})


class OpenAICompatibleModel:
    name = "openai"

    def __init__(self, http: httpx.AsyncClient, key: str, model: str, prompt: Prompt, seconds: float) -> None:
        self._http = http
        # Local servers often want no key.
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._model = model
        self._prompt = prompt
        self._seconds = seconds

    async def compose(self, brief: Brief) -> str:
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": self._prompt.system},
                {"role": "user", "content": self._prompt.asked(brief)},
            ],
            "max_tokens": MOST_TOKENS,
            "temperature": TEMPERATURE,
            "stream": False,
        }
        status, answer = await post_json(self._http, "chat/completions", body, self._headers, self._seconds)
        try:
            return _text(answer) if status == 200 else _refused_or_rejected(answer)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise unreadable() from error


def _text(answer: dict[str, Any]) -> str:
    choice = answer["choices"][0]
    message = choice["message"]
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        raise ModelRefused("The text model will not write about this value.")
    content = message["content"]
    if not isinstance(content, str):
        raise unreadable()
    return content


def _refused_or_rejected(answer: dict[str, Any]) -> str:
    error = answer.get("error")
    if isinstance(error, dict) and error.get("code") in _REFUSAL_CODES:
        raise ModelRefused("The text model will not write about this value.")
    raise rejected()
