"""Build the synthesis service, serve it, close it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from newvisions.synthesis.v1.synthesis_service_pb2_grpc import add_SynthesisServiceServicer_to_server
from services.kernel.client import Channels
from services.kernel.errors import ServiceError
from services.kernel.server import Handlers, ServerSettings, serve
from services.kernel.settings import read
from services.synthesis.ambience import Ambience
from services.synthesis.engines.catalogue import NotLoaded, engine_named, imported
from services.synthesis.ports import Engine, Watermark
from services.synthesis.preview import Previews
from services.synthesis.rpc import SynthesisServicer
from services.synthesis.settings import Settings
from services.synthesis.studio import Studio
from services.synthesis.usecases import Desk, Engines, Showroom

log = structlog.get_logger()


@asynccontextmanager
async def open_service(handlers: Handlers, _channels: Channels) -> AsyncIterator[None]:
    settings = read(Settings)
    async with AsyncExitStack() as stack:
        studio = Studio(settings.memos_limit, settings.mixing_threads)
        stack.callback(studio.close)
        visitors = Studio(settings.previews_limit, threads=1)
        stack.callback(visitors.close)
        desk = Desk(studio, await studio.run(Ambience.made), _watermark(settings.watermark))
        showroom = Showroom(visitors, await studio.run(Previews, desk.ambience), desk.ambience)
        engines = await _open_engines(settings.engines, stack)
        add_SynthesisServiceServicer_to_server(  # type: ignore[no-untyped-call]
            SynthesisServicer(engines, desk, showroom), handlers
        )
        yield


def _watermark(import_string: str) -> Watermark | None:
    if not import_string:
        return None
    try:
        watermark: Watermark = imported(import_string)()
    except (NotLoaded, TypeError, ValueError) as error:
        raise SystemExit(f"SYNTHESIS_WATERMARK: {error}") from error
    log.info("watermark_opened", watermark=watermark.name)
    return watermark


async def _open_engines(wanted: str, stack: AsyncExitStack) -> Engines:
    """All are made before the first is started: a wrong name costs no warm-up."""
    engines: dict[str, Engine] = {}
    for name in filter(None, map(str.strip, wanted.split(","))):
        engine = _made(name)
        if engine.name in engines:
            raise SystemExit(f"SYNTHESIS_ENGINES: two engines are named {engine.name!r}")
        engines[engine.name] = engine
    if not engines:
        raise SystemExit("SYNTHESIS_ENGINES: names no engine")
    for engine in engines.values():
        stack.push_async_callback(engine.close)
        try:
            await engine.start()
        except ServiceError as error:
            raise SystemExit(f"engine {engine.name!r} does not start: {error.message}") from error
        log.info("engine_started", engine=engine.name)
    return engines


def _made(name: str) -> Engine:
    try:
        return engine_named(name)
    except NotLoaded as error:
        raise SystemExit(f"SYNTHESIS_ENGINES: {error}") from error


if __name__ == "__main__":
    asyncio.run(serve({"synthesis": open_service}, read(ServerSettings)))
