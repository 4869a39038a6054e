"""Builds the content service, serves it, closes it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import SystemRandom

import httpx
import structlog
from redis.exceptions import RedisError

from newvisions.content.v1.content_service_pb2_grpc import add_ContentServiceServicer_to_server
from services.content.answers import ValkeyAnswers
from services.content.asking import Asking
from services.content.filters import load_filters
from services.content.lexicon import load_lexicon
from services.content.models.endings import PhrasebookEndings
from services.content.models.gemini import GeminiModel
from services.content.models.offline import OfflineModel
from services.content.models.openai_compatible import OpenAICompatibleModel
from services.content.models.phrasebook import load_phrasebooks
from services.content.models.prompt import Prompts, load_prompts
from services.content.peers import AuthPeer
from services.content.ports import Model
from services.content.redis import ValkeyRecentNotes, ValkeyThoughts
from services.content.rpc import ContentServicer
from services.content.settings import ModelName, Settings
from services.content.usecases import Memory, Writing
from services.kernel.cache import cache_client
from services.kernel.client import Channels
from services.kernel.clock import clock
from services.kernel.server import Handlers, ServerSettings, serve
from services.kernel.settings import SettingUnusable, at_fault, read

log = structlog.get_logger()

_KEPT_OPEN_SECONDS = 240.0


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    settings = read(Settings)
    lexicon, filters, prompts = load_lexicon(), load_filters(), load_prompts()
    async with AsyncExitStack() as stack:
        phrasebooks, chance = load_phrasebooks(), SystemRandom()
        offline = OfflineModel(phrasebooks, lexicon, chance)
        endings = PhrasebookEndings(phrasebooks, lexicon, chance)
        models = [
            model
            for name in settings.models
            if (model := await _opened(name, settings, prompts, offline, stack)) is not None
        ]
        if not models:
            raise SettingUnusable("setting CONTENT_MODELS: names no text model that is switched on")
        valkey = await stack.enter_async_context(
            cache_client(str(settings.valkey_url), settings.valkey_seconds)
        )
        with at_fault("CONTENT_VALKEY_URL", "Valkey does not answer, or refuses us", RedisError, OSError):
            await valkey.ping()
        answers = ValkeyAnswers(valkey, clock)
        memory = Memory(
            recent=ValkeyRecentNotes(valkey),
            thoughts=ValkeyThoughts(valkey, settings.cache_seconds),
            answers=answers,
            written_by=_written_by(prompts, models, settings),
            keeps_thoughts=settings.cache_seconds > 0,
            keeps_notes=settings.cache_seconds > 0 and settings.cache_for_perform,
        )
        handlers.replays["newvisions.content.v1"] = answers
        asking = Asking(models, lexicon, filters, endings, settings.budget_seconds)
        languages = AuthPeer(channels.to("auth", settings.auth_address), settings.auth_seconds)
        servicer = ContentServicer(Writing(asking, lexicon, filters, memory, languages))
        add_ContentServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        log.info("text_models_ready", models=[model.name for model in models])
        yield


async def _opened(
    name: ModelName, settings: Settings, prompts: Prompts, offline: OfflineModel, stack: AsyncExitStack
) -> Model | None:
    """The model of this name, when it is switched on."""
    match name:
        case "gemini" if settings.gemini_key:
            http = await _http(str(settings.gemini_base_url), settings.gemini_seconds, stack)
            key, model, seconds = settings.gemini_key, settings.gemini_model, settings.gemini_seconds
            return GeminiModel(http, key, model, prompts, seconds)
        case "openai" if settings.openai_base_url:
            http = await _http(str(settings.openai_base_url), settings.openai_seconds, stack)
            key, model, seconds = settings.openai_key, settings.openai_model, settings.openai_seconds
            return OpenAICompatibleModel(http, key, model, prompts, seconds)
        case "offline":
            return offline
    return None


def _written_by(prompts: Prompts, models: Sequence[Model], settings: Settings) -> str:
    names = {"gemini": settings.gemini_model, "openai": settings.openai_model}
    return ",".join([prompts.version, *(f"{model.name}:{names.get(model.name, '')}" for model in models)])


async def _http(base_url: str, seconds: float, stack: AsyncExitStack) -> httpx.AsyncClient:
    # Performances may be minutes apart; a new connection would cost each of them a handshake. Not HTTP/2,
    # where an answer that nobody reads to its end goes on, and uses up the window that all others share.
    limits = httpx.Limits(max_connections=100, keepalive_expiry=_KEPT_OPEN_SECONDS)
    client = httpx.AsyncClient(base_url=base_url, timeout=seconds, limits=limits)
    return await stack.enter_async_context(client)


if __name__ == "__main__":
    asyncio.run(serve({"content": open_service}, read(ServerSettings)))
