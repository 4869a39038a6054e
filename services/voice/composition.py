"""What the service and its command line have in common: the stores, the provider, and its places."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from services.kernel.cache import cache_client
from services.kernel.clock import clock
from services.kernel.database import database_client
from services.kernel.schema import bring_up_to_date
from services.voice import mongo, valkey
from services.voice.clones import Clones, Pooled, PoolView
from services.voice.mongo_slots import MongoSlots
from services.voice.policy import Rules, policy_named
from services.voice.pool import Pool, PoolRules, Records
from services.voice.ports import PooledProvider
from services.voice.providers.elevenlabs import open_elevenlabs
from services.voice.providers.watching import WatchedPlaces
from services.voice.reconciling import ReconcileRules, Reconciling
from services.voice.righting import Sides
from services.voice.schema import SCHEMA
from services.voice.settings import Settings
from services.voice.works import Works


@dataclass(frozen=True, slots=True)
class Stores:
    voices: mongo.MongoVoices
    database: AsyncDatabase[mongo.Document]
    cache: Redis
    # Also without a pool: there may have been one.
    habits: valkey.ValkeyHabits
    works: Works


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    url, connections = settings.mongo_url, settings.mongo_connections
    await bring_up_to_date(url, settings.mongo_database, SCHEMA)
    async with (
        database_client(url, connections, settings.mongo_seconds) as client,
        cache_client(str(settings.valkey_url), settings.valkey_seconds) as cache,
    ):
        database = client[settings.mongo_database]
        habits = valkey.ValkeyHabits(cache, _rules(settings))
        yield Stores(mongo.MongoVoices(database["voices"]), database, cache, habits, Works())


@asynccontextmanager
async def open_pooled(settings: Settings, stores: Stores) -> AsyncIterator[Pooled | None]:
    """None when voices are kept by the embedded engine only."""
    if not settings.provider or settings.elevenlabs_api_key_file is None:
        yield None
        return
    slots = MongoSlots(stores.database["pools"], settings.provider)
    await slots.prepare()
    address, key_file = str(settings.elevenlabs_base_url), settings.elevenlabs_api_key_file
    async with open_elevenlabs(
        address,
        key_file,
        seconds=settings.elevenlabs_seconds,
        clone_seconds=settings.elevenlabs_clone_seconds,
        installation=await slots.installation(),
    ) as provider:
        yield _pooled(settings, stores, slots, WatchedPlaces(provider))


def clones_of(stores: Stores, pooled: Pooled | None) -> Clones:
    return Clones(stores.voices, pooled.pool, pooled.habits) if pooled else Clones(stores.voices)


def _rules(settings: Settings) -> Rules:
    return Rules(protect_seconds=settings.protect_seconds)


def _pooled(settings: Settings, stores: Stores, slots: MongoSlots, provider: PooledProvider) -> Pooled:
    pins, habits = valkey.ValkeyPins(stores.cache), stores.habits
    most_places, rename = settings.most_places or None, settings.elevenlabs_rename
    fresh = timedelta(seconds=settings.allowance_seconds)
    pool_rules = PoolRules(policy_named(settings.policy, _rules(settings)), fresh, most_places, rename)
    pool = Pool(provider, Records(stores.voices, slots, pins, habits), pool_rules, stores.works, clock)
    unknown = timedelta(seconds=settings.unknown_seconds)
    sides = Sides(stores.voices, slots, habits, provider)
    reconciling = Reconciling(sides, ReconcileRules(unknown, rename, most_places), clock)
    return Pooled(provider, pool, reconciling, PoolView(provider.name, slots, pins, habits, clock), habits)
