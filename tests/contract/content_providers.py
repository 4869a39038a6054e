"""Text models' providers that we can make misbehave, and how each kind of them says things."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.content.domain import Brief, Routine
from services.content.lexicon import load_lexicon
from services.content.models.gemini import GeminiModel
from services.content.models.openai_compatible import OpenAICompatibleModel
from services.content.models.prompt import load_prompts
from services.content.ports import Model

LEXICON = load_lexicon()
PROMPTS = load_prompts()
NOTE = "I woke up with Leo stuck in my head, and it just won't let go of me, even now with my tea."
KEY = "a-key-of-ours"


def brief(value: str = "Leo", language: str = "en", **changes: Any) -> Brief:
    giveaways = LEXICON.giveaways(Routine.STAR_SIGNS, language)
    return Brief(Routine.STAR_SIGNS, value, language, "star-signs", giveaways, **changes)


async def composed(model: Model, about: Brief) -> str:
    return "".join([piece async for piece in model.write(about)])


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Provider:
    """A small HTTP server that answers everything alike: whole, in parts, or not to the end."""

    status: int = 200
    content_type: str = "text/event-stream"
    parts: Sequence[bytes] = (b"",)
    silent: bool = False
    # Cut the connection when this many bytes of the body are out.
    cut_after: int | None = None
    # After the first part, wait until the test lets the rest go.
    gate: asyncio.Event | None = None
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def streams(self, *answers: Any, end: bytes = b"") -> None:
        self.status, self.content_type = 200, "text/event-stream; charset=utf-8"
        said = [f"data: {json.dumps(answer, ensure_ascii=False)}\r\n\r\n".encode() for answer in answers]
        self.parts = [*said, end]

    def says(self, answer: Any, status: int = 200) -> None:
        self.status, self.content_type = status, "application/json"
        self.parts = [answer if isinstance(answer, bytes) else json.dumps(answer).encode()]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.asked.append(await _request(reader))
                if self.silent:
                    await reader.read()
                    return
                await self._answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {self.status} X\r\ncontent-type: {self.content_type}\r\n"
        writer.write(f"{head}content-length: {sum(map(len, self.parts))}\r\n\r\n".encode())
        if self.cut_after is not None:
            writer.write(b"".join(self.parts)[: self.cut_after])
            await writer.drain()
            writer.transport.close()
            raise ConnectionResetError
        for part in self.parts:
            writer.write(part)
            await writer.drain()
            if self.gate:
                await self.gate.wait()


async def _request(reader: asyncio.StreamReader) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Asked(first.split()[1], headers, json.loads(body))


@asynccontextmanager
async def provider_running() -> AsyncIterator[Provider]:
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    yield provider
    server.close()
    await server.wait_closed()


@dataclass(frozen=True)
class Dialect:
    """How one kind of provider says things, and the model that understands it."""

    build: Callable[[httpx.AsyncClient, float], Model]
    base_path: str
    # One answer of a stream that goes on.
    piece: Callable[[str], Any]
    # Several answers of a stream that say the text together.
    note: Callable[[str], list[Any]]
    end: bytes
    # Answers as streams, and as a status with a body.
    refusals: tuple[list[Any], ...]
    refusing_statuses: tuple[tuple[int, Any], ...]
    unreadable: tuple[Any, ...]
    said_by_user: Callable[[Asked], str]
    said_by_us: Callable[[Asked], str]


def _gemini(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, **more}]}


def _openai(text: str | None, ended: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text, **more}, "finish_reason": ended}]}


GEMINI = Dialect(
    build=lambda http, seconds: GeminiModel(http, KEY, "gemini-flash-lite", PROMPTS, seconds),
    base_path="",
    piece=_gemini,
    note=lambda text: [
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": text[:9]}]}}]},
        _gemini(text[9:30]),
        _gemini(text[30:], finishReason="STOP"),
        {"usageMetadata": {"totalTokenCount": 7}},
    ],
    end=b"",
    refusals=(
        [{"promptFeedback": {"blockReason": "SAFETY"}}],
        [{"candidates": [{"finishReason": "SAFETY"}]}],
        [_gemini("I woke up"), _gemini("", finishReason="PROHIBITED_CONTENT")],
        [_gemini("I", finishReason="SPII")],
    ),
    refusing_statuses=(),
    unreadable=({}, {"candidates": []}, {"candidates": [{"finishReason": "STOP"}]}, {"candidates": "no"}),
    said_by_user=lambda asked: str(asked.body["contents"][0]["parts"][0]["text"]),
    said_by_us=lambda asked: str(asked.body["systemInstruction"]["parts"][0]["text"]),
)
OPENAI = Dialect(
    build=lambda http, seconds: OpenAICompatibleModel(http, KEY, "small", PROMPTS, seconds),
    base_path="/v1",
    piece=_openai,
    note=lambda text: [
        _openai("", role="assistant"),
        _openai(text[:9]),
        _openai(text[9:]),
        _openai(None, "stop"),
        {"choices": [], "usage": {"total_tokens": 7}},
    ],
    end=b"data: [DONE]\n\n",
    refusals=(
        [_openai(None, refusal="I cannot.")],
        [_openai("I woke"), _openai(None, "content_filter")],
        [{"error": {"code": "content_filter", "message": "filtered"}}],
    ),
    refusing_statuses=((400, {"error": {"code": "content_filter", "message": "filtered"}}),),
    unreadable=({}, {"choices": []}, {"choices": [{"delta": {"content": 7}}]}, {"choices": 7}),
    said_by_user=lambda asked: str(asked.body["messages"][1]["content"]),
    said_by_us=lambda asked: str(asked.body["messages"][0]["content"]),
)
DIALECTS = {"gemini": GEMINI, "openai": OPENAI}


@asynccontextmanager
async def model_at(dialect: Dialect, url: str, seconds: float = 5) -> AsyncIterator[Model]:
    async with httpx.AsyncClient(base_url=url + dialect.base_path, http2=True, timeout=seconds) as http:
        yield dialect.build(http, seconds)


def at(provider: Provider) -> str:
    return f"http://127.0.0.1:{provider.port}"
