"""Builds the content service, serves it, closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import SystemRandom

import httpx
import structlog

from newvisions.content.v1.content_service_pb2_grpc import add_ContentServiceServicer_to_server
from services.content.lexicon import load_lexicon
from services.content.models.gemini import GeminiModel
from services.content.models.offline import OfflineModel
from services.content.models.openai_compatible import OpenAICompatibleModel
from services.content.models.phrasebook import load_phrasebooks
from services.content.models.prompt import load_prompt
from services.content.ports import Model
from services.content.redis import ValkeyRecentNotes, client
from services.content.rpc import ContentServicer
from services.content.settings import Settings
from services.content.usecases import Writing
from services.kernel.client import Channels
from services.kernel.server import Handlers, ServerSettings, serve

log = structlog.get_logger()


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    settings = Settings()  # type: ignore[call-arg]
    lexicon = load_lexicon()
    async with AsyncExitStack() as stack:
        models = [
            model
            for name in settings.model_order
            if (model := await _MODELS[name](settings, stack)) is not None
        ]
        if not models:
            raise SystemExit("CONTENT_MODEL_ORDER names no text model that is switched on")
        valkey = await stack.enter_async_context(client(str(settings.valkey_url), settings.valkey_seconds))
        await valkey.ping()
        servicer = ContentServicer(Writing(models, lexicon, ValkeyRecentNotes(valkey)))
        add_ContentServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        log.info("text_models_ready", models=[model.name for model in models])
        yield


async def _gemini(settings: Settings, stack: AsyncExitStack) -> Model | None:
    if not settings.gemini_key:
        return None
    http = await _http(str(settings.gemini_base_url), settings.model_seconds, stack)
    return GeminiModel(
        http, settings.gemini_key, settings.gemini_model, load_prompt(), settings.model_seconds
    )


async def _openai(settings: Settings, stack: AsyncExitStack) -> Model | None:
    if settings.openai_base_url is None:
        return None
    http = await _http(str(settings.openai_base_url), settings.model_seconds, stack)
    return OpenAICompatibleModel(
        http, settings.openai_key, settings.openai_model, load_prompt(), settings.model_seconds
    )


async def _offline(settings: Settings, stack: AsyncExitStack) -> Model | None:
    return OfflineModel(load_phrasebooks(), load_lexicon(), SystemRandom())


_MODELS = {"gemini": _gemini, "openai": _openai, "offline": _offline}


async def _http(base_url: str, seconds: float, stack: AsyncExitStack) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=base_url, http2=True, timeout=seconds)
    return await stack.enter_async_context(client)


if __name__ == "__main__":
    asyncio.run(serve({"content": open_service}, ServerSettings()))
