"""Pods of the rendered manifests as containers: users, limits, mounts and settings are the manifests'."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dev.images import reference
from dev.images.base import UNLIMITED
from dev.images.sandbox import CGROUP, PODMAN
from tests.unit.k8s import Manifest, Rendered, containers, pod

NETWORK = "stage"
UNITS = {"Mi": 2**20, "Gi": 2**30}
USER = 65532
# Of Debian's base; no pod has them, so that one which needs a shell fails.
SHELLS = ("/usr/bin/dash", "/usr/bin/bash")


@dataclass(frozen=True)
class Memory:
    limit: int
    # Without what the kernel could give back, such as files that were read.
    used: int


@dataclass(frozen=True)
class Place:
    """What the cluster gives that a manifest only names."""

    cluster: Rendered
    # Files of secrets and volumes: a folder for each pod.
    folder: Path
    hosts: Mapping[str, str]

    @cached_property
    def nothing(self) -> Path:
        """A file that cannot be run."""
        file = self.folder / "nothing"
        file.touch(mode=0o644)
        return file


class Pod:
    """One container of a Deployment."""

    def __init__(self, name: str, place: Place) -> None:
        self.name = name
        self.ip = place.hosts[name]
        self._place = place
        self._deployment = place.cluster.named("Deployment", name)
        (self._container,) = containers(self._deployment)

    @cached_property
    def memory_limit(self) -> int:
        quantity = self._container["resources"]["limits"]["memory"]
        return int(quantity[:-2]) * UNITS[quantity[-2:]]

    async def start(self) -> None:
        command = [*self._placed(), *self._secured(), *self._settings(), *self._mounts()]
        await podman("run", *command, reference(self.name), *self._container.get("args", []))

    async def ask_to_stop(self) -> None:
        """What a node does once `preStop` has passed."""
        await podman("kill", "--signal", "TERM", self.name)

    async def exit_code(self) -> int:
        return int(await podman("wait", self.name))

    async def run(self, *command: str) -> str:
        """Another program in the running container."""
        return await podman("exec", self.name, *command)

    async def log(self) -> str:
        return await podman("logs", self.name)

    async def inspected(self) -> Manifest:
        (told,) = json.loads(await podman("inspect", self.name))
        return dict(told)

    async def memory(self) -> "Memory":
        """As the kernel counts it, in either of its two layouts."""
        path = (await self.inspected())["State"]["CgroupPath"].lstrip("/")
        old, new = Path("/sys/fs/cgroup/memory") / path, Path("/sys/fs/cgroup") / path
        if old.exists():
            return Memory(int((old / "memory.limit_in_bytes").read_text()), _counted(old, "total_rss"))
        return Memory(int((new / "memory.max").read_text()), _counted(new, "anon"))

    def _placed(self) -> Iterator[str]:
        yield from ("--detach", "--name", self.name, "--network", NETWORK, "--ip", self.ip)
        yield from ("--cgroup-parent", f"/{CGROUP}", *UNLIMITED)
        for host, address in self._place.hosts.items():
            yield f"--add-host={host}:{address}"
            yield f"--add-host={host}.newvisions.svc.cluster.local:{address}"

    def _secured(self) -> Iterator[str]:
        of_pod, own = pod(self._deployment)["securityContext"], self._container["securityContext"]
        yield f"--user={of_pod['runAsUser']}:{of_pod['runAsGroup']}"
        yield f"--memory={self.memory_limit}"
        yield f"--memory-swap={self.memory_limit}"
        # Without podman's own idea of what must be writable.
        yield f"--read-only={str(own['readOnlyRootFilesystem']).lower()}"
        yield "--read-only-tmpfs=false"
        yield from (f"--cap-drop={capability}" for capability in own["capabilities"]["drop"])
        if not own["allowPrivilegeEscalation"]:
            yield "--security-opt=no-new-privileges"

    def _settings(self) -> Iterator[str]:
        found: dict[str, str] = {}
        for source in self._container.get("envFrom", []):
            found |= self._place.cluster.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in self._container.get("env", []):
            found[variable["name"]] = str(variable.get("value", self.name))
        for name, value in found.items():
            yield f"--env={name}={value.replace('$(POD_NAME)', self.name)}"

    def _mounts(self) -> Iterator[str]:
        yield from (f"--volume={self._place.nothing}:{shell}:ro" for shell in SHELLS)
        volumes = {volume["name"]: volume for volume in pod(self._deployment)["volumes"]}
        for mount in self._container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "emptyDir" in volume:
                size = volume["emptyDir"]["sizeLimit"].lower().rstrip("i")
                yield f"--tmpfs={mount['mountPath']}:rw,size={size},mode=1777"
            else:
                yield f"--volume={self._source(mount['name'], volume)}:{mount['mountPath']}"

    def _source(self, name: str, volume: Manifest) -> Path:
        folder = self._place.folder / self.name / name
        folder.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            held = self._place.cluster.named("ConfigMap", volume["configMap"]["name"])["data"]
            for file, text in held.items():
                (folder / file).write_text(text)
        return folder


def _counted(group: Path, line: str) -> int:
    (found,) = re.findall(rf"(?m)^{line} (\d+)$", (group / "memory.stat").read_text())
    return int(found)


async def podman(*arguments: str) -> str:
    """What it prints. Raises AssertionError with what it complains about."""
    # A container's own complaints are a part of its log.
    complaints = asyncio.subprocess.STDOUT if arguments[0] == "logs" else asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *PODMAN, *arguments, stdout=asyncio.subprocess.PIPE, stderr=complaints
    )
    said, complaint = await child.communicate()
    assert child.returncode == 0, f"podman {arguments[0]}: {(complaint or said).decode()[-2000:]}"
    return said.decode().strip()
