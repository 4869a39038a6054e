"""The base image of a machine without a registry: Debian's own packages and nothing else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from dev.images import BASE, KEPT
from dev.images.sandbox import BUILDAH, CGROUP, PODMAN, built, run, sealed

_TREE = KEPT / "base.tar"
_RELEASE = "bookworm"
_DEBIAN = (
    "--variant=minbase",
    "--include=python3,python3-venv,ca-certificates",
    "--aptopt=Acquire::Languages none",
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")),
)
_RECIPE = (
    "FROM scratch\nADD base.tar /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
)
_TOLD = "import platform as p; print(p.python_version(), p.machine(), p.libc_ver()[1])"


@dataclass(frozen=True)
class Target:
    """The Python that images have."""

    python: str
    machine: str
    libc: str

    @property
    def markers(self) -> Mapping[str, str]:
        """What a condition in the lock file may ask for."""
        return {
            "python_full_version": self.python,
            "python_version": ".".join(self.python.split(".")[:2]),
            "platform_machine": self.machine,
            "sys_platform": "linux",
            "platform_system": "Linux",
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }

    @property
    def platforms(self) -> list[str]:
        """The names of wheels that its C library can load."""
        major, minor = (int(number) for number in self.libc.split("."))
        modern = [f"manylinux_{major}_{found}_{self.machine}" for found in range(minor, 4, -1)]
        old = [f"manylinux{name}_{self.machine}" for name in ("2014", "2010", "1")]
        return [*modern, *old, f"linux_{self.machine}"]


def prepare() -> Target:
    """Makes the base where there is none. Remove var/images/base.tar to have Debian's newest."""
    stamp, wanted = KEPT / "base.sha256", hashlib.sha256(f"{_RELEASE}{_DEBIAN}{_RECIPE}".encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted and _TREE.exists()):
        _download()
        stamp.write_text(wanted)
        _build()
    elif not built(BASE):
        _build()
    alone = ("--network", "none", "--cgroup-parent", f"/{CGROUP}", *UNLIMITED)
    told = run(*sealed(*PODMAN, "run", "--rm", *alone, BASE, "python3", "-c", _TOLD)).split()
    return Target(*told)


def _download() -> None:
    fresh = KEPT / "base.new.tar"
    run("mmdebstrap", "--quiet", *_DEBIAN, _RELEASE, str(fresh))
    fresh.replace(_TREE)


def _build() -> None:
    recipe = KEPT / "Containerfile.base"
    recipe.write_text(_RECIPE)
    run(
        *sealed(
            *BUILDAH, "bud", "--quiet", "--timestamp", "0", "--file", str(recipe), "--tag", BASE, str(KEPT)
        )
    )


# Without the right to raise limits, podman's own defaults cannot be set.
UNLIMITED = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=500:500")
