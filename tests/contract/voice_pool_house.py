"""The whole pool, as replicas of it run on real stores and the simulated provider; any of them can die."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import httpx

from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.kernel.cache import cache_client
from services.kernel.database import database_client
from services.voice import mongo, valkey
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import Consent
from services.voice.keeping import Keeping, KeepingRules, Surroundings
from services.voice.mongo_slots import MongoSlots
from services.voice.policy import Rules, policy_named
from services.voice.pool import Pool, PoolRules, Records
from services.voice.ports import NormalisedSample
from services.voice.providers.elevenlabs import USER_LABEL, ElevenLabsProvider, open_elevenlabs
from services.voice.providers.local import LocalProvider
from services.voice.reconciling import ReconcileRules, Reconciling
from services.voice.righting import Sides
from services.voice.usecases import LeaseRules, Leasing, Touching
from services.voice.works import Works

T = TypeVar("T")

PLACES: Final = 2
# Two of the provider's places belong to somebody else, or are left to them by a setting.
SLOTS: Final = 4
ADDS: Final = 400
FEW_ADDS: Final = 5
ATTEMPT_LASTS: Final = timedelta(minutes=1)
LEASE_LASTS: Final = timedelta(minutes=3)
UNKNOWN: Final = timedelta(minutes=2)
CYCLE_SECONDS: Final = 30 * 86_400.0
CONSENT: Final = Consent("I agree.", datetime(2030, 5, 4, tzinfo=UTC), "test")


class Killed(BaseException):
    """The process is no more: nothing that it does after this reaches anybody."""


@dataclass
class Life:
    """How many more operations on anything outside a replica does before it is killed, if ever."""

    left: int = -1
    after_effect: bool = False
    ended: bool = False

    async def around(self, operation: Coroutine[Any, Any, T]) -> T:
        if self.ended:
            operation.close()
            raise Killed
        if self.left == 0:
            self.ended = True
            if self.after_effect:
                await operation
            else:
                operation.close()
            raise Killed
        self.left -= 1
        result = await operation
        if self.ended:
            raise Killed
        return result


class Mortal:
    """A port whose every call is an operation of one life."""

    def __init__(self, port: Any, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *given, **named: self._life.around(found(*given, **named))


class Enrolment:
    """The embedded engine learns any voice at once; the profile says of which sound."""

    async def enrol(self, engine: str, pcm: bytes, sample_rate: int) -> bytes:
        return profile_of(pcm)


def profile_of(pcm: bytes) -> bytes:
    return b"profile of " + sha256(pcm).hexdigest().encode()


class Rereading:
    """An MP3 sounds like its own bytes."""

    async def examine(self, recording: bytes) -> NormalisedSample:
        raise NotImplementedError

    async def reread(self, mp3: bytes) -> NormalisedSample:
        return NormalisedSample("", mp3, 24_000, mp3, 36.0, False)


def sample(user: str, variant: int) -> NormalisedSample:
    """No other user has it."""
    sound = f"{user} says it for the {variant}. time".encode()
    return NormalisedSample(sha256(sound).hexdigest(), sound, 24_000, sound, 36.0, True)


class Replica:
    """The parts of the service, built as `__main__` builds them, with a life of their own."""

    def __init__(self, house: "House", life: Life | None = None) -> None:
        self.life = life or Life()
        voices, slots, pins, habits = (
            Mortal(each, self.life) for each in (house.voices, house.slots, house.pins, house.habits)
        )
        blobs, provider = Mortal(house.blobs, self.life), Mortal(house.provider, self.life)
        local = Mortal(LocalProvider(Enrolment(), "tone"), self.life)
        records = Records(voices, slots, pins, habits)
        self.works = Works()
        policy, places, rename = policy_named("lru", house.rules), house.ceiling, house.rename
        pool_rules = PoolRules(policy, most_places=places, rename=rename)
        self.pool = Pool(provider, records, pool_rules, self.works, house.now)
        providers = {"elevenlabs": provider, "local": local}
        around = Surroundings(voices, blobs, Rereading(), providers, self.works, house.now, self.pool)
        self.keeping = Keeping(around, KeepingRules(ATTEMPT_LASTS, LEASE_LASTS))
        self.leasing = Leasing(around, pins, self.keeping, LeaseRules(LEASE_LASTS, clone_seconds=2))
        self.touching = Touching(around, self.keeping)
        sides = Sides(voices, slots, habits, provider)
        self.reconciling = Reconciling(sides, ReconcileRules(UNKNOWN, rename, places), house.now)

    async def close(self) -> None:
        self.life.ended = True
        await self.works.close(0)


@dataclass
class House:
    """Stores and provider, with the clock that all replicas read."""

    voices: mongo.MongoVoices
    slots: MongoSlots
    blobs: SealedBlobs
    pins: valkey.ValkeyPins
    habits: valkey.ValkeyHabits
    provider: ElevenLabsProvider
    simulator: Simulator
    # Whoever performed a moment ago may lose the place all the same, or nobody ever would.
    rules: Rules = field(default_factory=lambda: Rules(protect_seconds=0, cooldown_seconds=0))
    ahead: timedelta = timedelta(0)
    ceiling: int | None = None
    # Each voice is given its own id as its name, which costs another add.
    rename: bool = False
    replicas: list[Replica] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def later(self, seconds: float) -> None:
        """Here and at the provider. No request goes on for as long as that."""
        async with asyncio.timeout(20):
            while any(each.works.count("rename ") for each in self.replicas):  # noqa: ASYNC110 - ends silently
                await asyncio.sleep(0)
        self.ahead += timedelta(seconds=seconds)
        await self.simulator.advance(seconds)

    async def replace(self, number: int) -> None:
        """Another process takes over; what the old one had under way ends here and now."""
        await self.replicas[number].close()
        self.replicas[number] = Replica(self)

    async def ours(self) -> dict[str, str]:
        """Our voices at the provider, and whose they are."""
        return ours_of(await self.simulator.audit())

    async def steal(self, engine_voice_id: str) -> bool:
        """Somebody removes a voice by hand; False when the provider did not do it."""
        async with httpx.AsyncClient(base_url=self.simulator.url, headers={"xi-api-key": "hand"}) as http:
            with suppress(httpx.HTTPError):
                await http.delete(f"/v1/voices/{engine_voice_id}")
        return engine_voice_id not in await self.ours()

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.close()


def ours_of(audit: dict[str, Any]) -> dict[str, str]:
    labels = {each["voice_id"]: each["labels"] for each in audit["voices"]}
    return {voice_id: found[USER_LABEL] for voice_id, found in labels.items() if USER_LABEL in found}


class Street:
    """Where houses are built: one loop in a thread of its own, with the servers that all of them use."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._opened = AsyncExitStack()
        self._clients: tuple[Any, Any, ElevenLabsProvider, Simulator]

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    async def open(self, mongo_url: str, valkey_url: str, folder: Path) -> None:
        enter = self._opened.enter_async_context
        key = folder / "provider.key"
        key.write_text("ours")
        simulator = await enter(running(Options(latency=0)))
        provider = await enter(open_elevenlabs(simulator.url, key))
        database = await enter(database_client(mongo_url, connections=16, seconds=10))
        # A database of the cache that nobody else uses: each house empties it.
        cache = await enter(cache_client(valkey_url.removesuffix("/0") + "/7", seconds=5))
        self._clients = (database, cache, provider, simulator)

    async def house(self, *, shared: bool, adds: int = ADDS, rename: bool = False) -> House:
        """`shared` is an account in which somebody else keeps voices as well."""
        database, cache, provider, simulator = self._clients
        await cache.flushdb()
        limits = {"slots": SLOTS, "adds": adds, "requests_per_second": 10_000}
        await simulator.reset(**limits, hang_seconds=0.05, cycle_seconds=CYCLE_SECONDS)
        for _ in range(SLOTS - PLACES if shared else 0):
            await _voice_of_another(simulator)
        named = database[f"voice_{uuid4().hex[:12]}"]
        rules = Rules(protect_seconds=0, cooldown_seconds=0)
        house = House(
            mongo.MongoVoices(named["voices"]),
            MongoSlots(named["pools"], provider.name),
            SealedBlobs(open_store("memory:///"), Keys([os.urandom(32)])),
            valkey.ValkeyPins(cache),
            valkey.ValkeyHabits(cache, rules),
            provider,
            simulator,
            rules,
            ceiling=None if shared else PLACES,
            rename=rename,
        )
        await house.voices.prepare()
        await house.slots.prepare()
        house.replicas = [Replica(house), Replica(house)]
        return house

    async def close(self) -> None:
        await self._opened.aclose()


async def _voice_of_another(simulator: Simulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url, headers={"xi-api-key": "theirs"}) as http:
        made = await http.post("/v1/voices/add", data={"name": "theirs"}, files={"files": ("a.mp3", b"a")})
        made.raise_for_status()


@contextmanager
def street(mongo_url: str, valkey_url: str, folder: Path) -> Iterator[Street]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="street", daemon=True)
    thread.start()
    opened = Street(loop)
    try:
        opened.run(opened.open(mongo_url, valkey_url, folder))
        yield opened
    finally:
        opened.run(opened.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
