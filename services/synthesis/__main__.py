"""Build the synthesis service, serve it, close it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from newvisions.synthesis.v1.synthesis_service_pb2_grpc import add_SynthesisServiceServicer_to_server
from services.kernel.client import Channels
from services.kernel.errors import ServiceError
from services.kernel.server import Handlers, ServerSettings, serve
from services.kernel.settings import SettingUnusable, read
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
    # Before anything that takes time: a wrong name costs no warm-up.
    made, watermark = _made(settings.engines), _watermark(settings.watermark)
    async with AsyncExitStack() as stack:
        studio = Studio(settings.memos_limit, settings.mixing_threads)
        stack.callback(studio.close)
        visitors = Studio(settings.previews_limit, threads=1)
        stack.callback(visitors.close)
        desk = Desk(studio, await studio.run(Ambience.made), watermark)
        showroom = Showroom(visitors, await studio.run(Previews, desk.ambience), desk.ambience)
        engines = await _started(made, stack)
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
        raise SettingUnusable(f"setting SYNTHESIS_WATERMARK: {error}") from error
    if not hasattr(watermark, "name"):
        raise SettingUnusable(f"setting SYNTHESIS_WATERMARK: {import_string!r} is no watermark")
    log.info("watermark_opened", watermark=watermark.name)
    return watermark


def _made(wanted: str) -> Engines:
    engines: dict[str, Engine] = {}
    for name in filter(None, map(str.strip, wanted.split(","))):
        try:
            engine = engine_named(name)
        except NotLoaded as error:
            raise SettingUnusable(f"setting SYNTHESIS_ENGINES: {error}") from error
        if engine.name in engines:
            raise SettingUnusable(f"setting SYNTHESIS_ENGINES: two engines are named {engine.name!r}")
        engines[engine.name] = engine
    if not engines:
        raise SettingUnusable("setting SYNTHESIS_ENGINES: names no engine")
    return engines


async def _started(engines: Engines, stack: AsyncExitStack) -> Engines:
    for engine in engines.values():
        stack.push_async_callback(engine.close)
        try:
            await engine.start()
        except ServiceError as error:
            raise SettingUnusable(f"engine {engine.name!r} does not start: {error.message}") from error
        log.info("engine_started", engine=engine.name)
    return engines


if __name__ == "__main__":
    asyncio.run(serve({"synthesis": open_service}, read(ServerSettings)))
