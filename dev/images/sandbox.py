"""Where images are built and run: a namespace of its own, so that nothing of it stays on the machine.

Mounts, containers, bridges and firewall rules end with the last process inside; `var/images` stays.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dev.images import KEPT

# Which of Debian's packages has each program that is needed.
PROGRAMS = {
    "buildah": "buildah",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "podman": "podman",
    "runc": "runc",
    "unshare": "util-linux",
}
CGROUP = "newvisions-images"
_STORE = ("--root", str(KEPT / "root"), "--runroot", "/run/newvisions", "--storage-driver", "overlay")
# crun of Debian 12 refuses machines that have both kinds of control groups.
_RUNTIME = ("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file")
_NETWORKS = ("--network-config-dir", "/run/newvisions-networks")
BUILDAH = ("buildah", *_STORE)
PODMAN = ("podman", *_STORE, *_RUNTIME, *_NETWORKS)
_INSIDE = """
set -e
mkdir -p /var/lib/cni
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib/cni
ip link set lo up
exec "$@"
"""


class CannotBuild(Exception):
    """Something outside the project is missing or failed; the message is for whoever asked for images."""


def require() -> None:
    """Raises CannotBuild with the one thing to do about it."""
    if absent := sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)}):
        raise CannotBuild(
            f"images need more programs; on Debian, as root: apt-get install -y {' '.join(absent)}"
        )
    if os.geteuid() != 0:
        raise CannotBuild("images are built and run in namespaces of their own, which takes root")


def sealed(*command: str) -> tuple[str, ...]:
    """The same command without a network and with mounts and processes of its own."""
    namespaces = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    return ("unshare", *namespaces, "sh", "-c", _INSIDE, "sh", *command)


def run(*command: str, directory: Path = KEPT) -> str:
    """What a program prints. Raises CannotBuild with the end of what it complained about."""
    KEPT.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CannotBuild(f"{_shown(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def built(image: str) -> bool:
    """Whether the store has it."""
    command = sealed(*BUILDAH, "images", "-q", "--filter", f"reference={image}")
    return bool(run(*command).strip())


def sweep() -> None:
    """The kernel keeps control groups that nobody is in until they are removed."""
    groups = [path for path in Path("/sys/fs/cgroup").glob(f"*/{CGROUP}") if path.is_dir()]
    for group in groups:
        for inner in sorted(group.rglob("*/"), reverse=True):
            inner.rmdir()
        group.rmdir()


def _shown(command: Sequence[str]) -> str:
    return next((word for word in command if word in PROGRAMS and word != "unshare"), command[0])
