"""One request, one operation: wait as long as the vendor would, meet a fault or none, take effect, answer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dev.simulator.account import Refused
from dev.simulator.connections import cut, hung_up
from dev.simulator.faults import Fault
from dev.simulator.world import World

Effect = Callable[[World, Request], Awaitable[Response]]
# How this vendor words a failure: HTTP code, status, message.
Wording = Callable[[int, str, str], Response]

# A slow body comes in at most this many pieces: about half a second more than a quick one.
_PIECES: Final = 10
_SMALLEST_PIECE: Final = 256
_PIECE_SECONDS: Final = 0.05
_NOISE: Final = b"<html>\xff\xfe<h1>upstream connect error" * 8


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    effect: Effect
    wording: Wording
    median_seconds: float

    async def answer(self, world: World, request: Request) -> ASGIApp:
        world.requests[self.name] += 1
        fault, asked_of = world.faults.draw(self.name), world.account
        # Read first: the request has arrived whole, whatever becomes of it.
        await request.body()
        await world.wait(self.name, self.median_seconds)
        if world.account is not asked_of:
            return Hanging(0)
        if fault and fault in _BEFORE:
            return self._unheard(world, fault)
        request.state.refused = fault is Fault.REFUSAL
        try:
            world.account.turn_cycle()
            world.account.admit()
            response: ASGIApp = await self.effect(world, request)
        except Refused as refusal:
            world.refusals[refusal.status] += 1
            response = self.wording(refusal.code, refusal.status, refusal.message)
        return self._lost(world, fault, response)

    def _unheard(self, world: World, fault: Fault) -> ASGIApp:
        if fault is Fault.TIMEOUT_BEFORE:
            return Hanging(world.options.hang_seconds)
        return self.wording(*_BEFORE[fault])

    def _lost(self, world: World, fault: Fault | None, response: ASGIApp) -> ASGIApp:
        match fault:
            case Fault.TIMEOUT_AFTER:
                return Hanging(world.options.hang_seconds, response)
            case Fault.FAILED_AFTER:
                return Unsaid(response, self.wording(500, "internal_error", "Something went wrong."))
            case Fault.SLOW_BODY:
                return Slow(response)
            case Fault.DROPPED:
                return Dropped(response)
            case Fault.GARBAGE:
                return Unsaid(response, Response(_NOISE, media_type="text/html"))
        return response


_BEFORE: Final[dict[Fault, tuple[int, str, str]]] = {
    Fault.TIMEOUT_BEFORE: (0, "", ""),
    Fault.CONCURRENT: (429, "too_many_concurrent_requests", "Too many requests are running at once."),
    Fault.BUSY: (429, "system_busy", "The system is under heavy load; please try again later."),
    Fault.FAILED_BEFORE: (500, "internal_error", "Something went wrong."),
}


def elevenlabs_words(code: int, status: str, message: str) -> Response:
    return JSONResponse({"detail": {"status": status, "message": message}}, code)


async def _discard(_: Message) -> None:
    """What nobody gets to read."""


class Unsaid:
    """The effect runs to its end; another answer is given."""

    def __init__(self, response: ASGIApp, instead: ASGIApp) -> None:
        self._response = response
        self._instead = instead

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._response(scope, _silent(receive), _discard)
        await self._instead(scope, receive, send)


class Hanging:
    """Says nothing until the caller gives up; then, or when the time is over, the connection is cut."""

    def __init__(self, seconds: float, response: ASGIApp | None = None) -> None:
        self._seconds = seconds
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._response:
            await self._response(scope, _silent(receive), _discard)
        with suppress(TimeoutError):
            await asyncio.wait_for(hung_up(receive), self._seconds)
        await cut(scope, receive)


class Slow:
    """The body comes in small pieces with a wait after each."""

    def __init__(self, response: ASGIApp) -> None:
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def slowly(message: Message) -> None:
            body = message.get("body", b"")
            size = max(_SMALLEST_PIECE, len(body) // _PIECES + 1)
            for start in range(0, len(body), size):
                piece = body[start : start + size]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(_PIECE_SECONDS)
            if message["type"] == "http.response.start" or not message.get("more_body", False):
                await send({**message, "body": b""} if body else message)

        await self._response(scope, receive, slowly)


class Dropped:
    """Half of the first part of the body arrives, and nothing after it."""

    def __init__(self, response: ASGIApp) -> None:
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = False

        async def until_body(message: Message) -> None:
            nonlocal gone
            body = message.get("body", b"")
            if gone:
                return
            if body:
                gone = True
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
                await cut(scope, receive)
            elif message["type"] == "http.response.start":
                await send(message)

        await self._response(scope, _silent(receive), until_body)


def _silent(receive: Receive) -> Receive:
    """For a response whose caller is not to be noticed when it hangs up: the effect is complete anyway."""

    async def never() -> Message:
        await asyncio.Event().wait()
        return await receive()

    return never
