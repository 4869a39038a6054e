"""The table of processes that make up a stack: what runs, with which settings, after what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dev import embedded
from dev.ports import free_port
from dev.process import Spec
from dev.project import PYTHONPATH, python

SERVICES = ("auth", "content", "synthesis", "voice", "perform")
# Who calls whom.
_PEERS = {"voice": ("synthesis",), "perform": ("auth", "content", "synthesis", "voice")}
# And whom it calls later, so that it need not wait for them to start.
_CALLED_LATER = {"auth": ("content", "perform", "voice")}
# Who keeps something where.
_STORES = {
    "auth": ("mongo", "valkey"),
    "content": ("valkey",),
    "voice": ("mongo", "valkey"),
    "perform": ("mongo",),
}
ENGINES = {
    "local": "services.synthesis.engines.local:LocalEngine",
    "tone": "services.synthesis.engines.tone:ToneEngine",
}


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

    def address(self, service: str) -> str:
        """Where a service listens."""
        return f"127.0.0.1:{self.ports[self.process_of(service)]}"

    def process_of(self, service: str) -> str:
        """The first service of the process that this one runs in."""
        return service if self.composition == "many" else SERVICES[0]

    def process_name(self, service: str) -> str:
        return service if self.composition == "many" else "services"

    def table(self) -> list[Spec]:
        """The databases and the services; the gateway comes on top."""
        groups = [[name] for name in SERVICES] if self.composition == "many" else [list(SERVICES)]
        return [
            embedded.mongo(self.ports["mongo"], self.data),
            embedded.valkey(self.ports["valkey"], self.data),
            *(self._process(group) for group in groups),
        ]

    def _process(self, services: Sequence[str]) -> Spec:
        address = self.address(services[0])
        peers = {peer for name in services for peer in _PEERS.get(name, ()) if peer not in services}
        stores = {store for name in services for store in _STORES.get(name, ())}
        return Spec(
            name=self.process_name(services[0]),
            command=python("services.serve", *services),
            environment={
                **self.settings(services),
                "SERVER_ADDRESS": address,
                **PYTHONPATH,
                **self.environment,
            },
            ready=lambda: _serves(address),
            needs=sorted(peers | stores),
            ready_seconds=120,
        )

    def settings(self, services: Sequence[str]) -> dict[str, str]:
        """The environment of these services, without what the caller of the stack adds."""
        found = {"VOICE_LOCAL_ENGINE": self.engine, "SYNTHESIS_ENGINES": ENGINES[self.engine]}
        for name in services:
            prefix = name.upper()
            if "mongo" in _STORES.get(name, ()):
                found[f"{prefix}_MONGO_URL"] = embedded.mongo_url(self.ports["mongo"])
            if "valkey" in _STORES.get(name, ()):
                found[f"{prefix}_VALKEY_URL"] = embedded.valkey_url(self.ports["valkey"])
            if name in {"auth", "voice"}:
                found[f"{prefix}_KEY_FILE"] = str(self.data / "secrets" / f"{name}.key")
            if name in {"voice", "perform"}:
                found[f"{prefix}_BLOB_URL"] = (self.data / "blobs" / name).as_uri()
            for peer in (*_PEERS.get(name, ()), *_CALLED_LATER.get(name, ())):
                if self.process_of(peer) != self.process_of(name):
                    found[f"{prefix}_{peer.upper()}_ADDRESS"] = self.address(peer)
        return found


async def _serves(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="readiness"), timeout=2
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
