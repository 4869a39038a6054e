"""`newvisions migrate`: services.migrate with the settings of a running stack, or of our environment."""

import argparse
import os
import sys

from dev.project import PYTHONPATH, python
from dev.target import NoStackThere, add_target, find_target


def main() -> None:
    parser = argparse.ArgumentParser(prog="newvisions migrate", add_help=False, allow_abbrev=False)
    add_target(parser)
    options, arguments = parser.parse_known_args()
    if not any(not word.startswith("-") for word in arguments) and not {"-h", "--help"} & set(arguments):
        arguments += ["auth", "voice", "perform"]
    try:
        target = find_target(options.data_dir, environment=options.environment)
    except NoStackThere as nothing:
        sys.exit(f"newvisions migrate: {nothing}")
    run = python("services.migrate", *arguments)
    environment = {**os.environ, **PYTHONPATH, **target.variables}
    os.execve(run[0], run, environment)  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    main()
