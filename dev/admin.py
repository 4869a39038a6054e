"""`newvisions admin`: the auth service's command line with the settings of a running stack."""

import argparse
import json
import os
import sys
from pathlib import Path

from dev.project import PYTHONPATH, ROOT, python

DATA = ROOT / "var/up"


def main() -> None:
    parser = argparse.ArgumentParser(prog="newvisions admin", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=DATA, help="of the running stack (default: var/up)")
    options, command = parser.parse_known_args()
    settings = options.data_dir / "settings.json"
    if not settings.is_file():
        sys.exit(f"newvisions admin: no stack runs on {options.data_dir}; start one with `up`")
    run = python("services.auth.cli", *command)
    environment = {**os.environ, **PYTHONPATH, **json.loads(settings.read_text())}
    os.execve(run[0], run, environment)  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    main()
