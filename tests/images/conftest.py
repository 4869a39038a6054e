"""The development overlay on one machine: every pod as a container, databases beside them."""

import asyncio
import base64
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from dev import embedded
from dev.images import IMAGES
from dev.images.base import Target, prepare
from dev.process import Process, Spec
from dev.project import ROOT
from dev.services import SERVICES, STORES, serves
from tests.images.pods import NETWORK, USER, Place, Pod, podman
from tests.unit.k8s import rendered

NET = "10.89.7"
# Of the bridge, where the databases are.
HOST = f"{NET}.1"
HOSTS = {name: f"{NET}.{10 + number}" for number, name in enumerate(IMAGES)}
MONGO, VALKEY = 27017, 6379
# What the development overlay calls them.
NAMES = {"mongo": "mongodb", "valkey": "valkey"}
READY_SECONDS = 120


@dataclass(frozen=True)
class Stage:
    pods: Mapping[str, Pod]

    @property
    def url(self) -> str:
        return f"http://{self.pods['gateway'].ip}:8080"


@pytest.fixture(scope="session")
def target() -> Target:
    return prepare()


@pytest.fixture(scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """All pods at once and in no order, as a cluster starts them; returns when each says that it is ready."""
    folder = tmp_path_factory.mktemp("stage")
    place = Place(rendered("dev"), folder, HOSTS | dict.fromkeys(NAMES.values(), HOST))
    pods = {name: Pod(name, place) for name in IMAGES}
    async with AsyncExitStack() as cleanup:
        await podman("network", "create", "--subnet", f"{NET}.0/24", NETWORK)
        for spec in (embedded.mongo(MONGO, folder), embedded.valkey(VALKEY, folder)):
            server = await Process.start(_everywhere(spec), folder, ROOT)
            cleanup.push_async_callback(server.stop)
        _give(folder)
        cleanup.push_async_callback(podman, "stop", "--all", "--time", "1")
        await asyncio.gather(*(pod.start() for pod in pods.values()))
        await _all_ready(pods)
        yield Stage(pods)


def _everywhere(spec: Spec) -> Spec:
    """Pods come over the bridge, not from this machine's own address."""
    command = ["0.0.0.0" if word == "127.0.0.1" else word for word in spec.command]
    return replace(spec, command=[*command, *(("--protected-mode", "no") if spec.name == "valkey" else ())])


def _give(folder: Path) -> None:
    """What deploy/README.md asks for: volumes, and a Secret for each service with a file for each setting."""
    for name in SERVICES:
        held = folder / name / "secrets"
        held.mkdir(parents=True)
        for store in STORES[name]:
            # Otherwise the driver goes to the address that the server listens on, which is all of them.
            directly = f"{embedded.mongo_url(MONGO)}&directConnection=true"
            url = directly if store == "mongo" else embedded.valkey_url(VALKEY)
            (held / f"{name}_{store}_url").write_text(url.replace("127.0.0.1", NAMES[store]))
        if name in {"auth", "voice"}:
            (held / f"{name}.key").write_bytes(base64.b64encode(secrets.token_bytes(32)))
        blobs = folder / name / "blobs"
        blobs.mkdir()
        shutil.chown(blobs, USER, USER)
    # pytest's own folders let nobody else in.
    for above in (folder, *folder.parents):
        if above.is_relative_to("/tmp") and above != Path("/tmp"):
            above.chmod(0o755)


async def _all_ready(pods: Mapping[str, Pod]) -> None:
    for name, pod in pods.items():
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await ready(pod):
                    await asyncio.sleep(0.2)
                    assert (await pod.inspected())["State"]["Running"], f"{name}: {await pod.log()}"
        except TimeoutError:
            pytest.fail(f"{name} does not become ready: {await pod.log()}")


async def ready(pod: Pod) -> bool:
    """What the readiness probe of its manifest asks for."""
    if pod.name != "gateway":
        return await serves(f"{pod.ip}:50051")
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://{pod.ip}:8080/healthz")).is_success
        except httpx.TransportError:
            return False
