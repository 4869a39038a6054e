"""Writes notes with Gemini over its REST interface."""

from typing import Any

import httpx

from services.content.domain import Brief, ModelRefused
from services.content.models.prompt import MOST_TOKENS, TEMPERATURE, Prompt
from services.content.models.wire import post_json, rejected, unreadable

_REFUSALS = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"})
# Values are film titles, names of strangers and things people dislike; the mildest filter still holds.
_SAFETY = [
    {"category": f"HARM_CATEGORY_{harm}", "threshold": "BLOCK_ONLY_HIGH"}
    for harm in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]


class GeminiModel:
    name = "gemini"

    def __init__(self, http: httpx.AsyncClient, key: str, model: str, prompt: Prompt, seconds: float) -> None:
        self._http = http
        # A header, not a query parameter: URLs end up in logs.
        self._headers = {"x-goog-api-key": key}
        self._path = f"v1beta/models/{model}:generateContent"
        self._prompt = prompt
        self._seconds = seconds

    async def compose(self, brief: Brief) -> str:
        body = {
            "systemInstruction": {"parts": [{"text": self._prompt.system}]},
            "contents": [{"role": "user", "parts": [{"text": self._prompt.asked(brief)}]}],
            "generationConfig": {
                "temperature": TEMPERATURE,
                "maxOutputTokens": MOST_TOKENS,
                "candidateCount": 1,
                # With thinking on, the first token comes after many seconds.
                "thinkingConfig": {"thinkingBudget": 0},
            },
            "safetySettings": _SAFETY,
        }
        status, answer = await post_json(self._http, self._path, body, self._headers, self._seconds)
        if status != 200:
            raise rejected()
        try:
            return _text(answer)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise unreadable() from error


def _text(answer: dict[str, Any]) -> str:
    if answer.get("promptFeedback", {}).get("blockReason"):
        raise ModelRefused("The text model will not write about this value.")
    candidate = answer["candidates"][0]
    if candidate.get("finishReason") in _REFUSALS:
        raise ModelRefused("The text model will not write about this value.")
    parts = candidate["content"]["parts"]
    return "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
