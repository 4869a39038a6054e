"""`python -m services.auth.cli`, which `newvisions admin` runs."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from services.auth.cli import api_keys, audit, codes, credit, keys, roles, tokens, users
from services.auth.cli.commands import refuse
from services.auth.composition import build
from services.auth.settings import Settings
from services.kernel import logs
from services.kernel.errors import ServiceError
from services.kernel.schema import SchemaUnfit
from services.kernel.settings import SettingsWrong, SettingUnusable, read

GROUPS = (codes, tokens, users, roles, credit, api_keys, keys, audit)


def main() -> None:
    logs.configure("WARNING")
    asyncio.run(run(sys.argv[1:]))


async def run(arguments: Sequence[str]) -> None:
    """One command. Raises SystemExit with one line about what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        async with build(read(Settings)) as built:
            await options.command(built, options)
    except (ServiceError, SettingUnusable, SettingsWrong, SchemaUnfit) as failure:
        refuse(str(failure))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="newvisions admin", description="Manages accounts.")
    things = parser.add_subparsers(required=True, metavar="what")
    for group in GROUPS:
        group.declare(things)
    return parser


if __name__ == "__main__":
    main()
