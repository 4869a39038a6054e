"""Where a run takes place: database, cache, provider and three replicas, each a process of its own."""

import asyncio
import base64
import os
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import grpc
import httpx
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from dev import embedded
from dev.ports import free_port
from dev.process import Process, Spec
from dev.project import ROOT
from dev.services import Provider, serves
from dev.simulator.remote import Simulator
from dev.simulator.serving import spec as simulator_spec
from newvisions.voice.v1.voice_pool_service_pb2_grpc import VoicePoolServiceStub
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from services.kernel.client import MAX_MESSAGE_BYTES
from tests.chaos.voice_pool import nursery
from tests.chaos.voice_pool.plan import REPLICAS, Plan
from tests.chaos.voice_pool.timeline import Timeline

READY_SECONDS: Final = 30
# Moments after which somebody is taken for dead, instead of minutes: no freeze may last longer.
ATTEMPT_SECONDS: Final = 4.0
UNKNOWN_SECONDS: Final = 2.5

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A replica that was killed is back in a moment.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


class Replica:
    """One process of the service. Its address outlives it."""

    def __init__(self, name: str, address: str, channel: grpc.aio.Channel) -> None:
        self.name = name
        self.address = address
        self.voice: Any = VoiceServiceStub(channel)  # type: ignore[no-untyped-call]
        self.pool: Any = VoicePoolServiceStub(channel)  # type: ignore[no-untyped-call]
        self._pid: int | None = None

    def born(self, pid: int) -> None:
        self._pid = pid

    @property
    def lives(self) -> bool:
        if self._pid is None:
            return False
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, which: signal.Signals) -> None:
        """To all of its group: its workers go with it."""
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._pid, which)


class Site:
    """Stores and provider live from run to run; database, account and replicas are new in each."""

    def __init__(self, data: Path, forks: nursery.Nursery, simulator: Simulator) -> None:
        self.data = data
        self.simulator = simulator
        self.ports = {name: free_port() for name in ("mongo", "valkey")}
        self.database = ""
        self.blobs = data / "blobs"
        self.key_file = data / "voice.key"
        self.replicas: dict[str, Replica] = {}
        self.timeline = Timeline()
        self._forks = forks
        self._stores: dict[str, Process] = {}
        self._environment: dict[str, str] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def alone(self, name: str) -> asyncio.Lock:
        """Who does something to a process does it alone."""
        return self._turns[name]

    @property
    def mongo_url(self) -> str:
        return embedded.mongo_url(self.ports["mongo"])

    @property
    def logs(self) -> list[Path]:
        return [self.data / f"{name}.log" for name in REPLICAS]

    @asynccontextmanager
    async def run(self, plan: Plan) -> AsyncIterator[None]:
        """Everything as on the first day, and up."""
        self.timeline = Timeline()
        self.database = f"chaos_{plan.seed}_{uuid4().hex[:6]}"
        await self._empty_stores()
        await self.simulator.reset(
            seed=plan.seed,
            slots=plan.slots,
            adds=plan.adds,
            fault_share=0.0,
            latency=plan.latency,
            hang_seconds=plan.hang_seconds,
            requests_per_second=10_000,
        )
        await self._foreign_voices(plan)
        self._environment = self._settings(plan)
        async with AsyncExitStack() as cleanup:
            for name in REPLICAS:
                address = f"127.0.0.1:{free_port()}"
                channel = await cleanup.enter_async_context(
                    grpc.aio.insecure_channel(address, options=_OPTIONS)
                )
                self.replicas[name] = Replica(name, address, channel)
            cleanup.push_async_callback(self._end_replicas)
            await asyncio.gather(*(self.start(name) for name in REPLICAS))
            yield
        async with AsyncMongoClient[dict[str, Any]](self.mongo_url) as mongo:
            await mongo.drop_database(self.database)

    async def start(self, name: str) -> None:
        if name not in REPLICAS:
            server = embedded.mongo if name == "mongo" else embedded.valkey
            self._stores[name] = await Process.start(server(self.ports[name], self.data), self.data, ROOT)
            return
        async with asyncio.timeout(READY_SECONDS):
            while not await self._started(self.replicas[name]):  # noqa: ASYNC110 - the dead send no events
                # Whose database is away at the start ends, and whoever runs it starts it again.
                await asyncio.sleep(0.1)

    async def _started(self, replica: Replica) -> bool:
        environment = {**self._environment, "SERVER_ADDRESS": replica.address}
        replica.born(await self._forks.fork(environment, self.data / f"{replica.name}.log"))
        while replica.lives:
            if await serves(replica.address):
                return True
            await asyncio.sleep(0.02)
        return False

    async def kill(self, name: str) -> None:
        """Without a word of warning."""
        if name in REPLICAS:
            replica = self.replicas[name]
            replica.signal(signal.SIGKILL)
            async with asyncio.timeout(READY_SECONDS):
                while replica.lives:  # noqa: ASYNC110 - another's child sends no events
                    await asyncio.sleep(0.01)
            return
        os.killpg(self._stores[name].pid, signal.SIGKILL)
        await self._stores.pop(name).ended

    async def open_stores(self) -> None:
        await asyncio.gather(self.start("mongo"), self.start("valkey"))

    async def close_stores(self) -> None:
        for name in tuple(self._stores):
            await self.kill(name)

    async def _end_replicas(self) -> None:
        for replica in self.replicas.values():
            replica.signal(signal.SIGKILL)
        async with asyncio.timeout(READY_SECONDS):
            while any(replica.lives for replica in self.replicas.values()):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    async def _empty_stores(self) -> None:
        async with Redis.from_url(embedded.valkey_url(self.ports["valkey"])) as valkey:
            await valkey.flushall()
        shutil.rmtree(self.blobs, ignore_errors=True)
        self.blobs.mkdir()
        for log in self.logs:
            log.unlink(missing_ok=True)

    async def _foreign_voices(self, plan: Plan) -> None:
        """Somebody else uses the same account."""
        async with httpx.AsyncClient(base_url=self.simulator.url, headers={"xi-api-key": "theirs"}) as http:
            for number in range(plan.foreign):
                answer = await http.post(
                    "/v1/voices/add", data={"name": f"theirs {number}"}, files={"files": ("a.mp3", b"a")}
                )
                answer.raise_for_status()

    def _settings(self, plan: Plan) -> dict[str, str]:
        key = self.data / "provider.key"
        key.write_text("any key will do")
        return {
            "VOICE_MONGO_URL": self.mongo_url,
            "VOICE_MONGO_DATABASE": self.database,
            "VOICE_VALKEY_URL": embedded.valkey_url(self.ports["valkey"]),
            # On a busy machine an answer may take a while; a pin that was skipped would spoil the check.
            "VOICE_VALKEY_SECONDS": "2",
            "VOICE_BLOB_URL": self.blobs.as_uri(),
            "VOICE_KEY_FILE": str(self.key_file),
            "VOICE_LOCAL_ENGINE": "tone",
            "VOICE_SAMPLE_WORKERS": "1",
            # Everybody asks the overflow at once.
            "VOICE_SAMPLE_QUEUE": "200",
            "VOICE_ATTEMPT_SECONDS": str(ATTEMPT_SECONDS),
            "VOICE_UNKNOWN_SECONDS": str(UNKNOWN_SECONDS),
            "VOICE_SWEEP_SECONDS": "0.5",
            "VOICE_ALLOWANCE_SECONDS": "1",
            "VOICE_RECONCILE_SECONDS": str(plan.reconcile_seconds),
            "VOICE_PROTECT_SECONDS": "0",
            "VOICE_POLICY": plan.policy,
            "VOICE_MOST_PLACES": str(plan.ceiling),
            "VOICE_ELEVENLABS_RENAME": str(plan.rename).lower(),
            **Provider(self.simulator.url, key).settings(),
            "SYNTHESIS_ENGINES": "services.synthesis.engines.tone:ToneEngine",
        }


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Site]:
    (data / "voice.key").write_bytes(base64.b64encode(os.urandom(32)))
    port = free_port()
    async with AsyncExitStack() as cleanup:
        forks = await cleanup.enter_async_context(nursery.opened())
        http = await cleanup.enter_async_context(httpx.AsyncClient(timeout=30))
        site = Site(data, forks, Simulator(f"http://127.0.0.1:{port}", http))
        provider: Spec = simulator_spec(port)
        simulator, _ = await asyncio.gather(Process.start(provider, data, ROOT), site.open_stores())
        cleanup.push_async_callback(simulator.stop)
        cleanup.push_async_callback(site.close_stores)
        yield site


def now() -> float:
    return time.time()
