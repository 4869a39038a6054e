"""`python -m services.serve auth voice ...`: any set of services in one process."""

import asyncio
import sys
from importlib import import_module

from services.kernel.server import OpenService, ServerSettings, serve

SERVICES = ("auth", "voice", "content", "synthesis", "perform")


def main(names: list[str]) -> None:
    """Import only what is served, so that an image may hold one service alone."""
    unknown = sorted(set(names) - set(SERVICES))
    if unknown or not names:
        raise SystemExit(f"usage: serve SERVICE...; services are {', '.join(SERVICES)}")
    openers: dict[str, OpenService] = {
        name: import_module(f"services.{name}.__main__").open_service for name in names
    }
    asyncio.run(serve(openers, ServerSettings()))


if __name__ == "__main__":
    main(sys.argv[1:])
