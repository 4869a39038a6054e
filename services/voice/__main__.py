"""Builds the voice service, serves it, closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from time import monotonic

from newvisions.voice.v1.voice_pool_service_pb2_grpc import add_VoicePoolServiceServicer_to_server
from newvisions.voice.v1.voice_service_pb2_grpc import add_VoiceServiceServicer_to_server
from services.kernel.client import Channels
from services.kernel.clock import clock
from services.kernel.rounds import again_and_again
from services.kernel.server import Handlers, ServerSettings, running, serve
from services.kernel.settings import read
from services.voice.answers import COLLECTION, kept_answers
from services.voice.blobs import SealedBlobs, open_store, read_keys
from services.voice.composition import clones_of, open_pooled, open_stores
from services.voice.erasing import Erasing, Traces
from services.voice.examiners import Examiners
from services.voice.keeping import Keeping, KeepingRules, Overflow, Surroundings
from services.voice.peers import SynthesisPeer
from services.voice.pool_rpc import VoicePoolServicer
from services.voice.ports import Provider
from services.voice.profiles import Profiles
from services.voice.providers.local import LocalProvider
from services.voice.providers.watching import Watched
from services.voice.reconciling import reconcile_forever
from services.voice.rpc import VoiceServicer
from services.voice.settings import Settings
from services.voice.usecases import LeaseRules, Leasing, Reading, Touching, Uploading
from services.voice.valkey import ValkeyPins


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    settings = read(Settings)
    keys = read_keys(settings.key_file)
    blobs = SealedBlobs(open_store(settings.blob_url), keys)
    profiles = Profiles(blobs, settings.profile_cache_mib << 20, settings.profile_cache_seconds, monotonic)
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings))
        handlers.dependencies["voice database"] = partial(stores.database.command, "ping")
        answers = kept_answers(stores.database[COLLECTION], keys, clock)
        handlers.replays["newvisions.voice.v1"] = answers
        pooled = await stack.enter_async_context(open_pooled(settings, stores))
        examiners = Examiners(settings.sample_workers, settings.sample_queue, settings.sample_seconds)
        stack.push_async_callback(examiners.close)
        await examiners.start()
        # Last to be opened of what it uses: what is under way ends before that is closed.
        stack.push_async_callback(stores.works.close, settings.stop_seconds)
        local = _local(settings, channels)
        preferred: tuple[Provider, ...] = (pooled.provider, local) if pooled else (local,)
        around = Surroundings(
            voices=stores.voices,
            blobs=profiles,
            examiner=examiners,
            providers={provider.name: provider for provider in preferred},
            works=stores.works,
            clock=clock,
            pool=pooled.pool if pooled else None,
        )
        keeping = Keeping(around, _keeping(settings))
        pins = ValkeyPins(stores.cache)
        servicer = VoiceServicer(
            Uploading(examiners, keeping, clock),
            Leasing(around, pins, keeping, _leasing(settings)),
            Touching(around, keeping),
            Erasing(keeping, Traces(answers, pins, stores.habits), stores.voices, around.pool),
            Reading(stores.voices, blobs),
        )
        operators = VoicePoolServicer(clones_of(stores, pooled), keeping, pooled)
        add_VoiceServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        add_VoicePoolServiceServicer_to_server(operators, handlers)  # type: ignore[no-untyped-call]
        sweeping = again_and_again("voice sweep", keeping.sweep, settings.sweep_seconds)
        await stack.enter_async_context(running(sweeping))
        if pooled:
            reconciling = reconcile_forever(pooled.reconciling, settings.reconcile_seconds)
            await stack.enter_async_context(running(reconciling))
        yield


def _local(settings: Settings, channels: Channels) -> Watched:
    channel = channels.to("synthesis", settings.synthesis_address)
    return Watched(LocalProvider(SynthesisPeer(channel, settings.synthesis_seconds), settings.local_engine))


def _keeping(settings: Settings) -> KeepingRules:
    return KeepingRules(
        timedelta(seconds=settings.attempt_seconds),
        timedelta(seconds=settings.lease_seconds),
        Overflow(settings.overflow),
        settings.prefetches,
    )


def _leasing(settings: Settings) -> LeaseRules:
    lasts = timedelta(seconds=settings.lease_seconds)
    return LeaseRules(lasts, settings.lease_clone_seconds, Overflow(settings.overflow))


if __name__ == "__main__":
    asyncio.run(serve({"voice": open_service}, read(ServerSettings)))
