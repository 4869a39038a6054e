"""`python -m services.migrate auth ...`: documents of older releases brought up to date without a start.

Without names those of the variable SERVER_SERVICES that keep documents, which an image sets to its own.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from services.kernel import logs
from services.kernel.schema import Keeper, SchemaSettings, opened
from services.kernel.settings import read

SERVICES = ("auth", "voice", "perform")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="services.migrate", description=__doc__)
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=f"of {', '.join(SERVICES)}")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="change nothing; exit code 1 when something is due")
    how.add_argument("--again", action="store_true", help="all of them once more, which mends lost indexes")
    parser.add_argument("--json", action="store_true", help="one JSON line a service, for scripts")
    options = parser.parse_args(arguments)
    served = os.environ.get("SERVER_SERVICES", "").split()
    services = options.services or [name for name in served if name in SERVICES]
    if not services or not set(services) <= set(SERVICES):
        parser.error(f"name services of {', '.join(SERVICES)}")
    logs.configure("WARNING" if options.json else "INFO")
    return max(asyncio.run(_migrate(name, options)) for name in services)


async def _migrate(name: str, options: argparse.Namespace) -> int:
    module = import_module(f"services.{name}.schema")
    url, database = module.place()
    schema = module.SCHEMA
    async with opened(url, database, schema) as kept:
        keeper = Keeper(kept, schema, read(SchemaSettings).lease_seconds)
        if not options.check:
            await keeper.migrate(again=options.again)
        version, done = await keeper.version(), await keeper.done()
    if options.json:
        rows = [
            {"number": d.number, "name": d.name, "at": d.at.isoformat(), "documents": d.documents}
            for d in done
        ]
        _say(json.dumps({"service": name, "version": version, "needs": schema.version, "done": rows}))
    else:
        _say(f"{name}: form {version}, this release needs {schema.version}")
        for each in done:
            _say(f"  {each.number} {each.name}: {each.at:%Y-%m-%d %H:%M}, {each.documents} documents")
    return int(version != schema.version)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
