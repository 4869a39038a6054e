"""What is in an image, as CycloneDX: its own packages, with the hashes of the wheels they came from.

`python -m dev.images.bom IMAGE FILE` runs where images are mounted: see `sandbox.sealed`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dev.images import reference
from dev.images.base import Target, prepare
from dev.images.building import layers
from dev.images.sandbox import PODMAN, run
from dev.images.wheels import by_digest, normal, pins
from dev.pinned import pinned

Component = dict[str, Any]


@contextmanager
def mounted(name: str) -> Iterator[Path]:
    """The files of an image."""
    folder = Path(run(*PODMAN, "image", "mount", name).strip())
    try:
        yield folder
    finally:
        run(*PODMAN, "image", "unmount", name)


def bom(image: str, target: Target) -> dict[str, Any]:
    """Python's packages with their hashes, and Debian's."""
    with mounted(reference(image)) as root:
        told = _packages(next((root / "opt/venv/lib").glob("python3*/site-packages")))
        told["components"] = [*_hashed(told["components"], image, target), *_debian(root)]
    properties = [{"name": "newvisions:layer", "value": layer} for layer in layers(reference(image))]
    told["metadata"]["component"] = {
        **{"type": "container", "bom-ref": image, "name": f"newvisions/{image}"},
        "properties": properties,
    }
    return told


def _packages(folder: Path) -> dict[str, Any]:
    """An environment that has nothing of its own and finds everything in the image."""
    program = pinned("cyclonedx", "cyclonedx-py")
    with TemporaryDirectory() as directory:
        venv = Path(directory) / "venv"
        run(sys.executable, "-m", "venv", "--without-pip", str(venv))
        (next(venv.glob("lib/python3*/site-packages")) / "image.pth").write_text(f"{folder}\n")
        command = (str(program), "environment", "--output-reproducible", "--spec-version", "1.6")
        done = subprocess.run(
            [*command, str(venv / "bin/python")], cwd=directory, env={}, capture_output=True, check=True
        )
    return dict(json.loads(done.stdout))


def _hashed(components: list[Component], image: str, target: Target) -> Iterator[Component]:
    """Installed packages do not know what they were installed from; the wheels are here and do."""
    wanted, wheels = pins(image, target), by_digest()
    for component in components:
        pin = wanted[normal(component["name"])]
        (used,) = pin.hashes & wheels.keys()
        yield {**component, "hashes": [{"alg": "SHA-256", "content": used}]}


def _debian(root: Path) -> Iterator[Component]:
    shown = "${Package} ${Version} ${Architecture}\\n"
    for line in run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", shown).splitlines():
        name, version, machine = line.split()
        purl = f"pkg:deb/debian/{name}@{version}?arch={machine}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main(image: str, file: str) -> None:
    Path(file).write_text(json.dumps(bom(image, prepare()), indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
