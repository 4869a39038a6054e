"""The wheels that images are made of, fetched beforehand: building itself needs no network."""

import hashlib
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.markers import Marker

from deploy.images.closure import closure, roots_of
from dev.images import IMAGES, KEPT
from dev.images.base import Target
from dev.images.sandbox import run
from dev.project import ROOT

WHEELS = KEPT / "wheels"
_PIN = re.compile(r"(?m)^([\w.-]+)(?:\[\S*\])?==(\S+)(?: ; (.*?))? \\\n((?: +--hash=\S+(?: \\)?\n)+)")
# The generators of code run while an image is built, and are in none.
_BUILDING = "contracts"


@dataclass(frozen=True)
class Pin:
    """One package as the lock file allows it."""

    name: str
    version: str
    hashes: frozenset[str]

    @property
    def line(self) -> str:
        """As pip reads it."""
        return f"{self.name}=={self.version} {' '.join(f'--hash=sha256:{found}' for found in self.hashes)}\n"


def pins(image: str, target: Target) -> dict[str, Pin]:
    """What the lock file wants in an image, on the Python that its base has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return dict(_pins(closure((ROOT / "requirements.lock").read_text(), roots_of(image, project)), target))


def _pins(lock: str, target: Target) -> Iterator[tuple[str, Pin]]:
    for name, version, condition, hashes in _PIN.findall(lock):
        if not condition or Marker(condition).evaluate(dict(target.markers)):
            yield normal(name), Pin(normal(name), version, frozenset(re.findall(r"sha256:(\w+)", hashes)))


def fetch(target: Target) -> None:
    """Makes WHEELS hold what all images need, and nothing else."""
    wanted = {pin for image in (*IMAGES, _BUILDING) for pin in pins(image, target).values()}
    WHEELS.mkdir(parents=True, exist_ok=True)
    lacking = wanted - _present(wanted)
    if lacking:
        _download(lacking, target)
    allowed = {hash_ for pin in wanted for hash_ in pin.hashes}
    for file in WHEELS.iterdir():
        if digest(file) not in allowed:
            file.unlink()


def _present(wanted: Iterable[Pin]) -> set[Pin]:
    held = {digest(file) for file in WHEELS.iterdir()}
    return {pin for pin in wanted if pin.hashes & held}


def _download(wanted: Iterable[Pin], target: Target) -> None:
    lock = KEPT / "wheels.lock"
    lock.write_text("".join(pin.line for pin in wanted))
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes")
    # What runs here may be another Python than the one in the images.
    where = ("--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python)
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    run(*pip, *where, *platforms, "--dest", str(WHEELS), "--requirement", str(lock))


def by_digest() -> Mapping[str, Path]:
    return {digest(file): file for file in WHEELS.iterdir()}


@cache
def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
