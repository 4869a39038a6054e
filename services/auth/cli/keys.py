"""`newvisions admin keys`: the keys that sign access tokens."""

import argparse
from dataclasses import asdict
from typing import Any

from services.auth.cli.commands import Group, operator, say_row, say_rows
from services.auth.composition import Built
from services.auth.usecases.audit import Change
from services.kernel.clock import clock

COLUMNS = ("kid", "state", "signs_from", "ends_at")


def declare(things: Any) -> None:
    keys = Group(things, "keys", "the keys that sign access tokens")
    keys.command("list", "the keys that verify tokens now", list_keys)
    keys.command("rotate", "publish a new key, which signs as soon as all gateways know it", rotate_keys)


async def list_keys(built: Built, options: argparse.Namespace) -> None:
    rows = [asdict(standing) for standing in built.ask.keys.standings(clock())]
    say_rows("keys", COLUMNS, rows, as_json=options.json)


async def rotate_keys(built: Built, options: argparse.Namespace) -> None:
    now = clock()
    async with built.ask.audit.recorded(operator(), Change("signing_key_rotated", "", {}), now):
        made = await built.ask.keys.rotate(now)
    say_row(asdict(made), as_json=options.json)
