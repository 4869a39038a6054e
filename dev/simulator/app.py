"""The whole simulator as one application: both vendors' routes, and ours to look at it and to reset it."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.simulator import elevenlabs, gemini
from dev.simulator.answering import Operation
from dev.simulator.faults import Fault
from dev.simulator.options import Options, OptionsRefused
from dev.simulator.world import World


def application(options: Options) -> Starlette:
    world = World(options)
    vendors = [
        Route(path, _Endpoint(world, operation), methods=[method])
        for method, path, operation in (*elevenlabs.OPERATIONS, *gemini.OPERATIONS)
    ]
    return Starlette(routes=[*vendors, *_control(world)])


class _Endpoint:
    """An application rather than a function: an answer may be anything that speaks ASGI."""

    def __init__(self, world: World, operation: Operation) -> None:
        self._world = world
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        answer: ASGIApp = await self._operation.answer(self._world, request)
        await answer(scope, receive, send)


def _control(world: World) -> list[Route]:
    async def audit(_: Request) -> Response:
        return JSONResponse(world.audit())

    async def reset(request: Request) -> Response:
        """Options not named keep what they were last."""
        world.reset(world.options.changed(await _json(request)))
        return JSONResponse(world.audit())

    async def ask_for_faults(request: Request) -> Response:
        asked = await _json(request)
        for operation, faults in asked.items():
            world.faults.ask_for(operation, [Fault(fault) for fault in faults])
        return JSONResponse({"faults": asked})

    async def share_faults(request: Request) -> Response:
        """From now on; what took effect so far stays, as it does not after a reset."""
        world.faults.settle_for(float((await _json(request))["share"]))
        return JSONResponse({"share": world.faults.share})

    async def change(request: Request) -> Response:
        """How it behaves from now on; what took effect so far stays, as it does not after a reset."""
        world.change(await _json(request))
        return JSONResponse({"options": asdict(world.options)})

    async def advance(request: Request) -> Response:
        world.advance(float((await _json(request))["seconds"]))
        return JSONResponse({"now": world.now()})

    return [
        Route("/_sim/audit", audit, methods=["GET"]),
        Route("/_sim/reset", _explained(reset), methods=["POST"]),
        Route("/_sim/faults", _explained(ask_for_faults), methods=["POST"]),
        Route("/_sim/share", _explained(share_faults), methods=["POST"]),
        Route("/_sim/change", _explained(change), methods=["POST"]),
        Route("/_sim/clock", _explained(advance), methods=["POST"]),
    ]


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    return dict(await request.json()) if body else {}


def _explained(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (OptionsRefused, ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return answered
