"""Builds the voice service, serves it, closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

from newvisions.voice.v1.voice_service_pb2_grpc import add_VoiceServiceServicer_to_server
from services.kernel.client import Channels
from services.kernel.server import Handlers, ServerSettings, running, serve
from services.voice import mongo, valkey
from services.voice.blobs import SealedBlobs, open_store, read_keys
from services.voice.erasing import Erasing
from services.voice.examiners import Examiners
from services.voice.keeping import Keeping
from services.voice.peers import SynthesisPeer
from services.voice.profiles import Profiles
from services.voice.providers.local import LocalProvider
from services.voice.rpc import VoiceServicer
from services.voice.settings import Settings
from services.voice.sweeping import sweep_forever
from services.voice.usecases import Leasing, Uploading


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    settings = Settings()  # type: ignore[call-arg]
    blobs = SealedBlobs(open_store(settings.blob_url), read_keys(settings.key_file))
    synthesis = SynthesisPeer(
        channels.to("synthesis", settings.synthesis_address), settings.synthesis_seconds
    )
    local = LocalProvider(synthesis, settings.local_engine)
    async with AsyncExitStack() as stack:
        voices = await _voices(settings, stack)
        cache = valkey.client(str(settings.valkey_url), settings.valkey_seconds)
        await stack.enter_async_context(cache)
        examiners = Examiners(settings.sample_workers, settings.sample_queue, settings.sample_seconds)
        stack.push_async_callback(examiners.close)
        await examiners.start()
        attempt, lease = (
            timedelta(seconds=settings.attempt_seconds),
            timedelta(seconds=settings.lease_seconds),
        )
        profiles = Profiles(
            blobs, settings.profile_cache_mib << 20, settings.profile_cache_seconds, monotonic
        )
        keeping = Keeping(voices, profiles, {local.name: local}, attempt, _now)
        pins = valkey.ValkeyPins(cache)
        leasing = Leasing(voices, profiles, pins, lease, _now)
        erasing = Erasing(keeping, voices, pins)
        servicer = VoiceServicer(Uploading(examiners, keeping, _now), leasing, erasing, voices, blobs)
        add_VoiceServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        await stack.enter_async_context(running(sweep_forever(keeping, settings.sweep_seconds)))
        yield


async def _voices(settings: Settings, stack: AsyncExitStack) -> mongo.MongoVoices:
    client = mongo.client(str(settings.mongo_url), settings.mongo_connections, settings.mongo_seconds)
    await stack.enter_async_context(client)
    voices = mongo.MongoVoices(client[settings.mongo_database]["voices"], settings.mongo_connections)
    await voices.prepare()
    return voices


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    asyncio.run(serve({"voice": open_service}, ServerSettings()))
