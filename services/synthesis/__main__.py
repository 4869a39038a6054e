"""Build the synthesis service, serve it, close it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module

import structlog

from newvisions.synthesis.v1.synthesis_service_pb2_grpc import add_SynthesisServiceServicer_to_server
from services.kernel.client import Channels
from services.kernel.server import Handlers, ServerSettings, serve
from services.synthesis.ambience import Fan
from services.synthesis.ports import Engine
from services.synthesis.rpc import SynthesisServicer
from services.synthesis.settings import Settings
from services.synthesis.studio import Studio
from services.synthesis.usecases import Engines

log = structlog.get_logger()


@asynccontextmanager
async def open_service(handlers: Handlers, _channels: Channels) -> AsyncIterator[None]:
    settings = Settings()
    async with AsyncExitStack() as stack:
        studio = Studio(settings.memos_limit, settings.mixing_threads)
        stack.callback(studio.close)
        fan = await studio.run(Fan.made)
        engines = await _open_engines(settings.engines, stack)
        add_SynthesisServiceServicer_to_server(  # type: ignore[no-untyped-call]
            SynthesisServicer(engines, studio, fan), handlers
        )
        yield


async def _open_engines(import_strings: str, stack: AsyncExitStack) -> Engines:
    """All are loaded before the first is started: a wrong name costs no warm-up."""
    engines: dict[str, Engine] = {}
    for import_string in import_strings.split(","):
        engine = _loaded(import_string.strip())
        if engine.name in engines:
            raise SystemExit(f"SYNTHESIS_ENGINES: two engines are named {engine.name!r}")
        engines[engine.name] = engine
    for engine in engines.values():
        stack.push_async_callback(engine.close)
        await engine.start()
        log.info("engine_started", engine=engine.name)
    return engines


def _loaded(import_string: str) -> Engine:
    module, _, name = import_string.partition(":")
    try:
        engine: Engine = getattr(import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(f"SYNTHESIS_ENGINES: cannot load {import_string!r}: {error}") from error
    return engine


if __name__ == "__main__":
    asyncio.run(serve({"synthesis": open_service}, ServerSettings()))
