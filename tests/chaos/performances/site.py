"""Where runs take place: a whole stack with ways in it that can be cut, a provider, and users with voices."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import httpx
from pymongo import AsyncMongoClient
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from dev import embedded
from dev.performer import Performer, accepted
from dev.ports import free_port
from dev.process import Process, ProcessNotReady
from dev.project import ROOT
from dev.services import PEERS, SERVICES, STORES, Provider
from dev.simulator.remote import Simulator
from dev.simulator.serving import spec as simulator_spec
from dev.stack import Stack
from services.synthesis.engines.tone import ToneEngine, marker_hz
from services.voice.sample import examination
from services.voice.sample.wire import SAMPLE_RATE
from tests import samples
from tests.chaos.performances.plan import STORES as STORES_BEHIND
from tests.chaos.performances.plan import processes_of
from tests.chaos.performances.proxy import Proxy
from tests.e2e.conftest import GENEROUS

USERS: Final = 5
# Of each speaker: the same at every site, and a second of computing.
_TONES: Final[dict[int, frozenset[int]]] = {}
# Fewer than users: somebody is always spoken for by the embedded engine, or cloned again.
PLACES: Final = 3
ADDS: Final = 100_000
READY_SECONDS: Final = 60.0
# Moments after which somebody is taken for dead, instead of minutes.
_TAKEOVER_SECONDS: Final = 1.5
_UNKNOWN_SECONDS: Final = 3
_ATTEMPT_SECONDS: Final = 8
_KEY: Final = "a key of the account's owner"
# The cache may be away just then.
_PATIENT: Final = Retry(ConstantBackoff(0.1), 100)
# More than a hundred runs keep, and filled in a moment.
_DISK_BYTES: Final = 384 << 20


@dataclass(frozen=True, slots=True)
class Owner:
    """A user with a voice, and the tones in which the embedded engine may speak for them."""

    performer: Performer
    local_tones: frozenset[int]


class Site:
    def __init__(self, data: Path, composition: str) -> None:
        self.data = data
        self.composition = composition
        self.owners: list[Owner] = []
        self.proxies: dict[str, Proxy] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.provider: Process
        self.simulator: Simulator
        self.stack: Stack
        self.admin: httpx.AsyncClient
        self.mongo: AsyncMongoClient[dict[str, Any]]
        self.cache: Redis
        self.small_disk = False
        # File names of audio that was there before a run.
        self.known_audio: frozenset[str] = frozenset()

    def alone(self, name: str) -> asyncio.Lock:
        """Who does something to a process does it alone."""
        return self._turns[name]

    @property
    def processes(self) -> tuple[str, ...]:
        return processes_of(self.composition)

    @property
    def logs(self) -> list[Path]:
        return [self.stack.logs / f"{name}.log" for name in self.processes]

    @property
    def audio(self) -> Path:
        """Where the recordings lie."""
        return self.data / "stack/blobs/perform"

    def clock_of(self, process: str) -> Path:
        """A process of ours is as many seconds ahead as this file says."""
        return self.data / f"clock-{process}"

    async def kill(self, name: str) -> None:
        os.killpg(self.stack.pid(name), signal.SIGKILL)

    async def revive(self, name: str) -> None:
        """Whoever cannot start because its database is away is started again, as an orchestrator would."""
        give_up = perf_counter() + READY_SECONDS
        while True:
            try:
                await self.stack.revive(name)
            except ProcessNotReady:
                if perf_counter() > give_up:
                    raise
            else:
                return

    def signal(self, name: str, which: signal.Signals) -> None:
        os.killpg(self.provider.pid if name == "provider" else self.stack.pid(name), which)


@asynccontextmanager
async def opened(data: Path, composition: str) -> AsyncIterator[Site]:
    site = Site(data, composition)
    async with AsyncExitStack() as cleanup:
        enter = cleanup.enter_async_context
        port, key = free_port(), data / "provider.key"
        key.write_text(_KEY)
        limits = ("--plan", "scale", "--slots", str(PLACES), "--adds", str(ADDS))
        spec = simulator_spec(port, *limits, "--key", _KEY, "--latency", "0")
        site.provider = await Process.start(spec, data, ROOT)
        cleanup.push_async_callback(site.provider.stop)
        http = await enter(httpx.AsyncClient(timeout=30))
        site.simulator = Simulator(f"http://127.0.0.1:{port}", http)
        environment: dict[str, str] = {}
        site.proxies["provider"] = await enter(Proxy(port).running())
        away = f"http://127.0.0.1:{site.proxies['provider'].port}"
        site.stack = Stack(
            data / "stack",
            processes="many" if composition == "many" else "one",
            engine="tone",
            limits=GENEROUS,
            environment=environment,
            provider=Provider(away, key),
            of_process=_clocks(site),
        )
        for name in (*STORES_BEHIND, *(SERVICES if composition == "many" else ())):
            site.proxies[name] = await enter(Proxy(site.stack.ports[name]).running())
        # Known only now: the stack chose the ports.
        environment |= _settings(site, away)
        site.small_disk = _small_disk(site.audio, cleanup)
        await enter(site.stack)
        ports = site.stack.ports
        mongo = embedded.mongo_url(ports["mongo"])
        site.mongo = await enter(AsyncMongoClient(mongo, uuidRepresentation="standard", tz_aware=True))
        site.cache = await enter(
            Redis.from_url(embedded.valkey_url(ports["valkey"]), decode_responses=True, retry=_PATIENT)
        )
        site.admin = await enter(httpx.AsyncClient(base_url=site.stack.url, timeout=30))
        site.admin.headers["authorization"] = f"Bearer {await site.stack.admin_token()}"
        made = await site.admin.post("/v1/admin/activation-codes", json={"count": USERS})
        performers = [
            await enter(Performer.signed_up(site.stack.url, code)) for code in accepted(made)["codes"]
        ]
        site.owners += await asyncio.gather(*map(_with_a_voice, performers, range(USERS)))
        yield site


async def _with_a_voice(performer: Performer, number: int) -> Owner:
    accepted(await performer.upload(samples.speech(number)))
    if number not in _TONES:
        _TONES[number] = await _tones(samples.speech(number))
    return Owner(performer, _TONES[number])


async def _tones(recording: bytes) -> frozenset[int]:
    """Of all that the embedded engine may learn from this recording."""
    first = await asyncio.to_thread(examination.examine, recording)
    # Its clone may be made later, of the MP3 that was kept.
    again = await asyncio.to_thread(examination.reread, first.mp3)
    profiles = [await ToneEngine().enrol(each.pcm, SAMPLE_RATE) for each in (first, again)]
    return frozenset(round(marker_hz(profile)) for profile in profiles)


def _settings(site: Site, provider: str) -> dict[str, str]:
    found = {
        "AUTH_MONTHLY_LIMIT": "10000000",
        "AUTH_ACCESS_TOKEN_SECONDS": "3600",
        # Whoever is left without a text model still has words.
        "CONTENT_MODELS": "gemini,offline",
        "CONTENT_GEMINI_API_KEY": _KEY,
        "CONTENT_GEMINI_BASE_URL": provider,
        "PERFORM_TAKEOVER_SECONDS": str(_TAKEOVER_SECONDS),
        "PERFORM_SWEEP_INTERVAL_SECONDS": "0.3",
        # On a busy machine an answer may take a while; a pin that was not taken off stays until it expires.
        "VOICE_VALKEY_SECONDS": "2",
        "VOICE_LEASE_SECONDS": "25",
        "VOICE_ATTEMPT_SECONDS": str(_ATTEMPT_SECONDS),
        "VOICE_UNKNOWN_SECONDS": str(_UNKNOWN_SECONDS),
        "VOICE_ELEVENLABS_SECONDS": "2",
        "VOICE_ELEVENLABS_CLONE_SECONDS": "4",
        "VOICE_SWEEP_SECONDS": "0.5",
        "VOICE_ALLOWANCE_SECONDS": "1",
        "VOICE_RECONCILE_SECONDS": "2",
        "VOICE_PROTECT_SECONDS": "0",
        "VOICE_POLICY": "lru",
        "VOICE_SAMPLE_WORKERS": "1",
        "VOICE_SAMPLE_QUEUE": "50",
    }
    ways = {name: f"127.0.0.1:{proxy.port}" for name, proxy in site.proxies.items()}
    for service in SERVICES:
        prefix = service.upper()
        if "mongo" in STORES.get(service, ()):
            found[f"{prefix}_MONGO_URL"] = embedded.mongo_url(site.proxies["mongo"].port)
        if "valkey" in STORES.get(service, ()):
            found[f"{prefix}_VALKEY_URL"] = embedded.valkey_url(site.proxies["valkey"].port)
        if site.composition == "many":
            found |= {f"{prefix}_{peer.upper()}_ADDRESS": ways[peer] for peer in PEERS.get(service, ())}
    return found


def faked_clock() -> Path | None:
    """The library that tells a process another time, where it is installed (Debian: faketime)."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def _clocks(site: Site) -> dict[str, dict[str, str]]:
    library = faked_clock()
    if library is None:
        return {}
    found = {}
    for process in site.processes:
        clock = site.clock_of(process)
        clock.write_text("+0")
        found[process] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    return found


def _small_disk(folder: Path, cleanup: AsyncExitStack) -> bool:
    """Where we may mount one, so that it can be full without harm to the machine's."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "newvisions-chaos", str(folder)], check=False
    )
    if mounted.returncode:
        return False
    cleanup.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    return True
