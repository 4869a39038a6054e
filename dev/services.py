"""The table of processes that make up a stack: what runs, with which settings, after what."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev import embedded
from dev.ports import free_port
from dev.process import Spec
from dev.project import PYTHONPATH, python

SERVICES = ("auth", "content", "synthesis", "voice", "perform")
# Who calls whom.
PEERS = {"voice": ("synthesis",), "perform": ("auth", "content", "synthesis", "voice")}
# And whom it calls later, so that it need not wait for them to start.
CALLED_LATER = {"auth": ("content", "perform", "voice"), "content": ("auth",)}
# Who keeps something where.
STORES = {
    "auth": ("mongo", "valkey"),
    "content": ("valkey",),
    "synthesis": ("valkey",),
    "voice": ("mongo", "valkey"),
    "perform": ("mongo",),
}
# Which variable names a service's database.
DATABASES = {
    "auth": "AUTH_DATABASE",
    "voice": "VOICE_MONGO_DATABASE",
    "perform": "PERFORM_MONGO_DATABASE",
}
# The URL of a MongoDB to use instead of the embedded one: tests against a real replica set.
MONGO_ELSEWHERE = "NEWVISIONS_TEST_MONGO_URL"
ENGINES = {
    "local": "local",
    "tone": "services.synthesis.engines.tone:ToneEngine",
}
_ELEVENLABS_ENGINE = "elevenlabs"


@dataclass(frozen=True)
class Provider:
    """ElevenLabs, or what answers in its place. The embedded engine stays beside it, for the overflow."""

    base_url: str
    key_file: Path
    # What answers in its place, when it runs as a part of the stack.
    stand_in: Spec | None = None

    def settings(self) -> dict[str, str]:
        found = {"VOICE_PROVIDER": "elevenlabs"}
        for service in ("VOICE", "SYNTHESIS"):
            found[f"{service}_ELEVENLABS_API_KEY_FILE"] = str(self.key_file.resolve())
            found[f"{service}_ELEVENLABS_BASE_URL"] = self.base_url
        return found


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the first process starts."""

    data: Path
    composition: str
    engine: str
    environment: Mapping[str, str]
    ports: Mapping[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("mongo", "valkey", *SERVICES)}
    )
    # Where each process tells its metrics, by its name.
    metrics: Mapping[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("gateway", "services", *SERVICES)}
    )
    provider: Provider | None = None
    # The environment of one process alone, by its name; over everything else.
    of_process: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    mongo_elsewhere: str = field(default_factory=lambda: os.environ.get(MONGO_ELSEWHERE, ""))

    def address(self, service: str) -> str:
        """Where a service listens."""
        return f"127.0.0.1:{self.ports[self.process_of(service)]}"

    def process_of(self, service: str) -> str:
        """The first service of the process that this one runs in."""
        return service if self.composition == "many" else SERVICES[0]

    def process_name(self, service: str) -> str:
        return service if self.composition == "many" else "services"

    @property
    def processes(self) -> list[str]:
        """Of ours, without the databases."""
        return sorted({self.process_name(service) for service in SERVICES})

    def table(self) -> list[Spec]:
        """The databases and the services; the gateway comes on top."""
        groups = [[name] for name in SERVICES] if self.composition == "many" else [list(SERVICES)]
        return [
            *self.database(),
            embedded.valkey(self.ports["valkey"], self.data),
            *self._stand_ins(),
            *(self._process(group) for group in groups),
        ]

    def database(self) -> list[Spec]:
        """The embedded one, unless another one is used."""
        return [] if self.mongo_elsewhere else [embedded.mongo(self.ports["mongo"], self.data)]

    def _stand_ins(self) -> list[Spec]:
        return [self.provider.stand_in] if self.provider and self.provider.stand_in else []

    def _process(self, services: Sequence[str]) -> Spec:
        address = self.address(services[0])
        peers = {peer for name in services for peer in PEERS.get(name, ()) if peer not in services}
        stores = {store for name in services for store in STORES.get(name, ())}
        name = self.process_name(services[0])
        stores -= set() if self.database() else {"mongo"}
        return Spec(
            name=name,
            command=python("services.serve", *services),
            environment={
                **self.settings(services),
                "SERVER_ADDRESS": address,
                "SERVER_METRICS_HOST": "127.0.0.1",
                "SERVER_METRICS_PORT": str(self.metrics[name]),
                **PYTHONPATH,
                **self.environment,
                **self.of_process.get(name, {}),
            },
            ready=lambda: serves(address),
            needs=sorted(peers | stores | {spec.name for spec in self._stand_ins()}),
            ready_seconds=120,
        )

    def settings(self, services: Sequence[str]) -> dict[str, str]:
        """The environment of these services, without what the caller of the stack adds."""
        found = {"VOICE_LOCAL_ENGINE": self.engine, "SYNTHESIS_ENGINES": ENGINES[self.engine]}
        if self.provider:
            found |= self.provider.settings()
            found["SYNTHESIS_ENGINES"] += f",{_ELEVENLABS_ENGINE}"
        for name in services:
            prefix = name.upper()
            if "mongo" in STORES.get(name, ()):
                found[f"{prefix}_MONGO_URL"] = self.mongo_elsewhere or embedded.mongo_url(self.ports["mongo"])
                if self.mongo_elsewhere:
                    # Of this data alone: there may be other stacks' databases.
                    found[DATABASES[name]] = f"{name}_{sha256(bytes(self.data)).hexdigest()[:12]}"
            if "valkey" in STORES.get(name, ()):
                found[f"{prefix}_VALKEY_URL"] = embedded.valkey_url(self.ports["valkey"])
            if name in {"auth", "voice"}:
                found[f"{prefix}_KEY_FILE"] = str(self.data / "secrets" / f"{name}.key")
            if name in {"voice", "perform"}:
                found[f"{prefix}_BLOB_URL"] = (self.data / "blobs" / name).as_uri()
            for peer in (*PEERS.get(name, ()), *CALLED_LATER.get(name, ())):
                if self.process_of(peer) != self.process_of(name):
                    found[f"{prefix}_{peer.upper()}_ADDRESS"] = self.address(peer)
        return found


async def serves(address: str) -> bool:
    """Whether services answer there that are ready for work."""
    # Never by the proxy that the environment may name: this is on this machine.
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="readiness"), timeout=2
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
