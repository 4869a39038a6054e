"""`newvisions admin migrate`: documents of older releases, brought up to date without a start."""

import argparse
from typing import Any

from services.auth.cli.commands import say_rows
from services.auth.composition import Built, clock


def declare(things: Any) -> None:
    does = "bring documents of older releases up to date, and show what was done when"
    parser = things.add_parser("migrate", help=does, description=does)
    parser.add_argument("--json", action="store_true", help="one JSON line, for scripts")
    parser.set_defaults(command=migrate)


async def migrate(built: Built, options: argparse.Namespace) -> None:
    done = await built.database.migrations.run(clock())
    rows = [{"name": each.name, "done_at": each.done_at, "documents": each.documents} for each in done]
    say_rows("migrations", ("name", "done_at", "documents"), rows, as_json=options.json)
