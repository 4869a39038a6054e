"""The routes of Gemini: a text at once, or as it is written."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dev.simulator.account import Refused
from dev.simulator.answering import Operation
from dev.simulator.notes import note
from dev.simulator.world import World

_BRIEF: Final = re.compile(r"<brief>(.*?)</brief>", re.DOTALL)
# Up to its first word.
_SECOND_SENTENCE: Final = re.compile(r"(.+?[.!?。]\s*[^\s.!?。]{2,}\s)(.+)", re.DOTALL)
_FIRST_TOKEN_SECONDS: Final = 0.3
# With thinking on, the first token comes after all the thoughts.
_THINKING_SECONDS: Final = 17.0
_STATUSES: Final = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 500: "INTERNAL"}
_OUR_STATUSES: Final = {
    "too_many_concurrent_requests": (429, "RESOURCE_EXHAUSTED"),
    "system_busy": (503, "UNAVAILABLE"),
}


def gemini_words(code: int, status: str, message: str) -> Response:
    code, status = _OUR_STATUSES.get(status, (code, _STATUSES.get(code, "UNKNOWN")))
    return JSONResponse({"error": {"code": code, "message": message, "status": status}}, code)


async def generate(world: World, request: Request) -> Response:
    body = await _asked(world, request)
    if request.state.refused:
        return JSONResponse(_refusal(request))
    return JSONResponse(_answer(request, body, _note(world, body), "STOP"))


async def stream(world: World, request: Request) -> Response:
    body = await _asked(world, request)
    if request.state.refused:
        answers = [_refusal(request)]
    else:
        first, rest = _parts(_note(world, body))
        answers = [_answer(request, body, first, None), _answer(request, body, rest, "STOP")]
    events = _events(answers, world.options.pause_seconds)
    return StreamingResponse(events, media_type="text/event-stream")


def _parts(text: str) -> tuple[str, str]:
    """Before it pauses, and after: with the first word of a second sentence, or half of the only one."""
    if found := _SECOND_SENTENCE.match(text):
        return found[1], found[2]
    words = re.findall(r"\S+\s*", text)
    return "".join(words[: len(words) // 2]), "".join(words[len(words) // 2 :])


async def _events(answers: Sequence[dict[str, Any]], seconds: float) -> AsyncIterator[bytes]:
    for number, answer in enumerate(answers):
        if number and seconds:
            await asyncio.sleep(seconds)
        yield f"data: {json.dumps(answer, ensure_ascii=False)}\r\n\r\n".encode()


async def _asked(world: World, request: Request) -> dict[str, Any]:
    key = request.headers.get("x-goog-api-key", "")
    if not key or (world.options.key and key != world.options.key):
        raise Refused(400, "invalid_api_key", "API key not valid. Please pass a valid API key.")
    try:
        body: dict[str, Any] = json.loads(await request.body())
        _said(body)
    except (ValueError, KeyError, IndexError, TypeError):
        raise Refused(400, "invalid_argument", "The request body cannot be read.") from None
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {}).get("thinkingBudget")
    seconds = _FIRST_TOKEN_SECONDS if thinking == 0 else _THINKING_SECONDS
    await world.wait("text", seconds)
    return body


def _said(body: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in body["contents"][-1]["parts"])


def _note(world: World, body: dict[str, Any]) -> str:
    """About the value of a brief where there is one; else about what was said."""
    said = _said(body)
    if found := _BRIEF.search(said):
        brief = json.loads(found[1])
        written = world.requests["generate"] + world.requests["stream"]
        return note(brief["value"], brief["language"], written)
    return f"You said: {said}"


def _answer(request: Request, body: dict[str, Any], text: str, finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    asked, told = len(_said(body)) // 4 + 1, len(text) // 4 + 1
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": asked,
            "candidatesTokenCount": told,
            "totalTokenCount": asked + told,
        },
        "modelVersion": request.path_params["model"],
        "responseId": "simulated",
    }


def _refusal(request: Request) -> dict[str, Any]:
    return {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1},
        "modelVersion": request.path_params["model"],
    }


# The vendor's client asks for the one, most other programs for the other.
_VERSIONS: Final = ("v1", "v1beta")

OPERATIONS: Final[Sequence[tuple[str, str, Operation]]] = tuple(
    ("POST", f"/{version}/models/{{model}}:{call}", Operation(name, effect, gemini_words, 0.0))
    for version in _VERSIONS
    for call, name, effect in (
        ("generateContent", "generate", generate),
        ("streamGenerateContent", "stream", stream),
    )
)
