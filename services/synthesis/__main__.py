"""Build the synthesis service, serve it, close it."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import structlog

from newvisions.synthesis.v1.synthesis_service_pb2_grpc import add_SynthesisServiceServicer_to_server
from services.kernel.client import Channels
from services.kernel.errors import ServiceError
from services.kernel.server import Handlers, ServerSettings, serve
from services.kernel.settings import SettingUnusable, read
from services.synthesis.ambience import Ambience
from services.synthesis.engines.catalogue import NotLoaded, engine_named, imported
from services.synthesis.mixing import Mixing
from services.synthesis.mixing.crew import lower_priority
from services.synthesis.ports import Engine, Watermark
from services.synthesis.preview import Previews
from services.synthesis.rpc import SynthesisServicer
from services.synthesis.seats import Seats
from services.synthesis.settings import Settings
from services.synthesis.usecases import Desk, Engines, Showroom

log = structlog.get_logger()

# Visitors wait for performers.
_NICENESS: Final = 5


@asynccontextmanager
async def open_service(handlers: Handlers, _channels: Channels) -> AsyncIterator[None]:
    settings = read(Settings)
    # Before anything that takes time: a wrong name costs no warm-up.
    made = _made(settings.engines)
    _check_watermark(settings.watermark)
    async with AsyncExitStack() as stack:
        thread = stack.enter_context(ThreadPoolExecutor(1, "visitors", lower_priority, (_NICENESS,)))
        in_thread = partial(asyncio.get_running_loop().run_in_executor, thread)
        ambience = await in_thread(Ambience.made)
        desk = Desk(Seats(settings.memos_limit), await _mixing(settings, ambience, stack))
        previews = await in_thread(Previews, ambience)
        showroom = Showroom(Seats(settings.previews_limit), thread, previews, ambience)
        engines = await _started(made, stack)
        add_SynthesisServiceServicer_to_server(  # type: ignore[no-untyped-call]
            SynthesisServicer(engines, desk, showroom), handlers
        )
        yield


async def _mixing(settings: Settings, ambience: Ambience, stack: AsyncExitStack) -> Mixing:
    loops = stack.enter_context(ambience.lent())
    mixing = Mixing(settings.mixing_processes, loops, settings.watermark)
    stack.push_async_callback(mixing.close)
    try:
        await mixing.start()
    except ServiceError as error:
        raise SettingUnusable(error.message) from error
    return mixing


def _check_watermark(import_string: str) -> None:
    """Each mixing process makes its own; here a wrong one ends the start with one line."""
    if not import_string:
        return
    try:
        watermark: Watermark = imported(import_string)()
    except (NotLoaded, TypeError, ValueError) as error:
        raise SettingUnusable(f"setting SYNTHESIS_WATERMARK: {error}") from error
    if not hasattr(watermark, "name"):
        raise SettingUnusable(f"setting SYNTHESIS_WATERMARK: {import_string!r} is no watermark")
    log.info("watermark_opened", watermark=watermark.name)


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
