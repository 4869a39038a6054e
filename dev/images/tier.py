"""`newvisions test --images`: builds every image, then tests them in a namespace without a network."""

import subprocess

from dev.images.__main__ import build_all, say
from dev.images.sandbox import PODMAN, CannotBuild, run, sealed, sweep
from dev.pinned import ToolNotInstalled, pinned
from dev.project import ROOT, python

TESTS = "tests/images"


def main(arguments: list[str]) -> int:
    try:
        build_all()
        # Now: where the tests run there is no index.
        pinned("cyclonedx")
    except (CannotBuild, ToolNotInstalled) as failure:
        say(str(failure))
        return 1
    given = arguments if any(argument.startswith(TESTS) for argument in arguments) else [TESTS, *arguments]
    command = python("pytest", "-n", "0", "--durations", "10", "--durations-min", "5", *given)
    try:
        return subprocess.run(sealed(*command), cwd=ROOT, check=False).returncode
    finally:
        # Their mounts are gone with their namespace; what the store remembers of them is not.
        run(*sealed(*PODMAN, "rm", "--all", "--force"))
        sweep()
