"""`python -m services.serve auth voice ...`: any set of services in one process.

Without arguments those of the variable SERVER_SERVICES, which an image sets to its own.
"""

import asyncio
import os
import sys
from importlib import import_module

from services.kernel.server import OpenService, ServerSettings, serve
from services.kernel.settings import read

SERVICES = ("auth", "voice", "content", "synthesis", "perform")


def main(names: list[str]) -> None:
    """Import only what is served, so that an image may hold one service alone."""
    unknown = sorted(set(names) - set(SERVICES))
    if unknown or not names:
        raise SystemExit(f"usage: serve SERVICE...; services are {', '.join(SERVICES)}")
    openers: dict[str, OpenService] = {
        name: import_module(f"services.{name}.__main__").open_service for name in names
    }
    asyncio.run(serve(openers, read(ServerSettings)))


if __name__ == "__main__":
    main(sys.argv[1:] or os.environ.get("SERVER_SERVICES", "").split())
