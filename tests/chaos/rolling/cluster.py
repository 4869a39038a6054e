"""Services as pods behind names, replaced as a Deployment replaces them: one more first, then one fewer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from dev import embedded
from dev.gateway import lets_in, remove, short_directory
from dev.ports import free_port
from dev.process import Process, Spec
from dev.project import PYTHONPATH, ROOT, python
from dev.services import SERVICES, Plan, serves
from dev.stack import administer, keep_secret
from gateway.render import render
from gateway.settings import GatewaySettings
from tests.chaos.rolling.names import Names, name_of, serving_names

# As in deploy/k8s/base, but for the longest speech, which nobody asks for here.
_MIN_READY_SECONDS = 5.0
_PRE_STOP_SECONDS = 5.0
_DRAIN_SECONDS = 3.0
_GRACE_SECONDS = 30.0
_CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


@dataclass(frozen=True)
class PodPlan(Plan):
    """Where a stack on one machine knows ports, callers here know names."""

    name_server: int = 0
    pod_port: int = 0

    def address(self, service: str) -> str:
        return f"dns://127.0.0.1:{self.name_server}/{name_of(service)}:{self.pod_port}"


@dataclass(frozen=True)
class Pod:
    ip: str
    process: Process


class Cluster:
    """One pod of each service, and a gateway; `replace` and `replace_gateway` roll them."""

    def __init__(self, plan: PodPlan, names: Names, sockets: Path) -> None:
        self.url = ""
        self.pods: dict[str, Pod] = {}
        self._plan = plan
        self._names = names
        self._sockets = sockets
        self._logs = plan.data / "logs"
        self._gateway: Process | None = None
        self._numbers = count(1)

    async def start(self) -> None:
        for service in SERVICES:
            self.pods[service] = await self._started(service)
            self._names.pods[service] = [self.pods[service].ip]
        self.url, self._gateway = await self._started_gateway()

    async def codes(self, number: int) -> list[str]:
        asked = ("codes", "create", "--count", str(number), "--json")
        return list(json.loads(await administer(self._plan.settings(["auth"]), *asked))["codes"])

    async def replace(self, service: str) -> int | None:
        """The old pod's exit code."""
        old, new = self.pods[service], await self._started(service)
        self._names.pods[service] = [old.ip, new.ip]
        # The pauses are Kubernetes': it waits for nothing either.
        await asyncio.sleep(_MIN_READY_SECONDS)
        self._names.pods[service] = [new.ip]
        self.pods[service] = new
        await asyncio.sleep(_PRE_STOP_SECONDS)
        await old.process.stop()
        return old.process.ended.result()

    async def replace_gateway(self) -> int | None:
        """The old one's exit code; `url` is the new one's from the moment it is ready."""
        old = self._gateway
        self.url, self._gateway = await self._started_gateway()
        assert old is not None
        await asyncio.sleep(_PRE_STOP_SECONDS)
        await old.stop()
        return old.ended.result()

    async def stop(self) -> None:
        if self._gateway:
            await self._gateway.stop()
        for service in reversed(SERVICES):
            if service in self.pods:
                await self.pods[service].process.stop()

    async def _started(self, service: str) -> Pod:
        number = next(self._numbers)
        ip = f"127.0.7.{number}"
        address = f"{ip}:{self._plan.pod_port}"
        environment = {
            **self._plan.settings([service]),
            "SERVER_ADDRESS": address,
            "SERVER_DRAIN_SECONDS": str(_DRAIN_SECONDS),
            "SERVER_STOP_GRACE_SECONDS": str(_GRACE_SECONDS),
            "AUTH_MONTHLY_LIMIT": "1000000",
            "CONTENT_MODELS": "offline",
            # Tests may forbid the resolver that a pod has.
            "GRPC_DNS_RESOLVER": "ares",
            **PYTHONPATH,
        }
        spec = Spec(
            name=f"{service}-{number}",
            command=python("services.serve", service),
            environment=environment,
            ready=lambda: serves(address),
            ready_seconds=120,
            stop_seconds=_DRAIN_SECONDS + _GRACE_SECONDS + 5,
        )
        return Pod(ip, await Process.start(spec, self._logs, ROOT))

    async def _started_gateway(self) -> tuple[str, Process]:
        number, port = next(self._numbers), free_port()
        settings = GatewaySettings(
            upstreams={service: f"{name_of(service)}:{self._plan.pod_port}" for service in SERVICES},
            admin_socket=str(self._sockets / str(number)),
            listen_host="127.0.0.1",
            listen_port=port,
            descriptors=str(ROOT / "gen/edge.pb"),
            limits=None,
            access_log=str(self._logs / f"access-{number}.log"),
        )
        configuration = self._plan.data / f"gateway-{number}.json"
        configuration.write_text(json.dumps(self._asking_our_names(settings)))
        command = ("-m", "tests.chaos.rolling.gateway", str(configuration), settings.admin_socket)
        spec = Spec(
            name=f"gateway-{number}",
            command=(*python("tests.chaos.rolling.gateway"), *command[2:]),
            environment=PYTHONPATH,
            ready=lambda: lets_in(port),
            stop_seconds=40,
        )
        return f"http://127.0.0.1:{port}", await Process.start(spec, self._logs, ROOT)

    def _asking_our_names(self, settings: GatewaySettings) -> dict[str, Any]:
        """Envoy's configuration as it is, but for the name server, which is the system's elsewhere."""
        written: dict[str, Any] = yaml.safe_load(render(settings))
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self._names.port}}
        for cluster in written["static_resources"]["clusters"]:
            if cluster["name"] in SERVICES:
                cluster["cluster_type"]["typed_config"]["typed_dns_resolver_config"] = {
                    "name": "envoy.network.dns_resolver.cares",
                    "typed_config": {"@type": _CARES, "resolvers": [address]},
                }
        return written


@asynccontextmanager
async def cluster(data: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as cleanup:
        names = await cleanup.enter_async_context(serving_names())
        plan = PodPlan(data, "many", "tone", {}, name_server=names.port, pod_port=free_port())
        for service in ("auth", "voice"):
            keep_secret(data / "secrets" / f"{service}.key")
        for folder in ("blobs/voice", "blobs/perform", "logs"):
            (data / folder).mkdir(parents=True, exist_ok=True)
        for spec in (*plan.database(), embedded.valkey(plan.ports["valkey"], data)):
            store = await Process.start(spec, data / "logs", ROOT)
            cleanup.push_async_callback(store.stop)
        sockets = short_directory()
        cleanup.callback(remove, sockets)
        running = Cluster(plan, names, sockets)
        cleanup.push_async_callback(running.stop)
        await running.start()
        yield running
