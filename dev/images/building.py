"""Builds an image: the same commit gives the same layers, on any day."""

import json
from pathlib import Path

from dev.images import BASE, reference
from dev.images.sandbox import BUILDAH, run, sealed
from dev.images.wheels import WHEELS
from dev.project import ROOT

# A fixed moment, so that a layer whose content did not change keeps its digest from release to release.
_MOMENT = ("--timestamp", "0")


def build(image: str, *, name: str = "", afresh: bool = False) -> None:
    """Takes what an earlier build left, unless told to begin `afresh`."""
    arguments = {"BASE": BASE, "SERVICE": image, "PIP_OPTIONS": "--no-index"}
    given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    target = "gateway" if image == "gateway" else "service"
    caching = ("--no-cache",) if afresh else ("--layers",)
    options = ("--quiet", "--pull-never", "--target", target, *caching, *_MOMENT)
    wheels = ("--build-context", f"wheels={WHEELS}")
    command = (*BUILDAH, "bud", *options, *wheels, *given, "--tag", name or reference(image), str(ROOT))
    run(*sealed(*command))


def layers(name: str) -> list[str]:
    """Digests of the content of each layer."""
    told = json.loads(run(*sealed(*BUILDAH, "inspect", "--type", "image", name)))
    return list(told["OCIv1"]["rootfs"]["diff_ids"])


def archive(image: str, file: Path) -> None:
    """As an OCI archive, which any registry's client can push."""
    file.unlink(missing_ok=True)
    run(*sealed(*BUILDAH, "push", "--quiet", reference(image), f"oci-archive:{file}:{image}"))
