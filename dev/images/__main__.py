"""`newvisions images`: builds the images, and writes archives with what is in them.

Needs root, buildah, podman, runc and mmdebstrap, and no registry.
"""

import argparse
import sys
from pathlib import Path
from time import monotonic

from dev.images import IMAGES
from dev.images.base import Target, prepare
from dev.images.building import archive, build
from dev.images.sandbox import CannotBuild, require, run, sealed, sweep
from dev.images.wheels import fetch
from dev.pinned import ToolNotInstalled, pinned
from dev.project import python


def main() -> int:
    parser = argparse.ArgumentParser(prog="newvisions images", description=__doc__)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"default: {' '.join(IMAGES)}")
    parser.add_argument("--out", type=Path, help="write IMAGE.oci.tar and IMAGE.cdx.json there")
    given = parser.parse_args()
    if unknown := set(given.images) - set(IMAGES):
        parser.error(f"there is no image {', '.join(sorted(unknown))}")
    try:
        build_all(given.images or IMAGES)
        for image in given.images or IMAGES if given.out else ():
            write(image, given.out.resolve())
    except (CannotBuild, ToolNotInstalled) as failure:
        say(str(failure))
        return 1
    finally:
        sweep()
    return 0


def build_all(images: list[str] | tuple[str, ...] = IMAGES) -> Target:
    """What is already as it should be takes seconds. Raises CannotBuild."""
    require()
    say("the base, from Debian's packages ...")
    target = prepare()
    say("the wheels of the lock file ...")
    fetch(target)
    for image in images:
        started = monotonic()
        build(image)
        say(f"{image}: built in {monotonic() - started:.0f} s")
    return target


def write(image: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    archive(image, folder / f"{image}.oci.tar")
    pinned("cyclonedx")
    run(*sealed(*python("dev.images.bom", image, str(folder / f"{image}.cdx.json"))))
    say(f"{image}: {folder / image}.oci.tar and what is in it beside it")


def say(line: str) -> None:
    sys.stderr.write(f"newvisions images: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
