"""`newvisions admin codes`: who may become a user."""

import argparse
from collections.abc import Sequence
from typing import Any

from services.auth.cli.commands import (
    Group,
    between,
    moment,
    operator,
    refuse,
    say,
    say_json,
    say_row,
    say_rows,
)
from services.auth.composition import Built
from services.auth.domain.accounts import CODES_LAST
from services.auth.domain.codes import CodeRecord
from services.auth.usecases.codes import csv_of
from services.kernel.clock import clock

COLUMNS = ("code", "state", "batch", "created_at", "expires_at", "used_by", "used_at")


def declare(things: Any) -> None:
    codes = Group(things, "codes", "activation codes")

    create = codes.command("create", "make activation codes", create_codes)
    create.add_argument("--count", type=between(1, 1000), default=1)
    create.add_argument("--expires-at", type=moment, help="ISO 8601; a year from now when not given")
    create.add_argument("--csv", action="store_true", help="as a table for spreadsheets")

    every = codes.command("list", "activation codes, newest first, and who used which when", list_codes)
    every.add_argument("--limit", type=between(1, 1000), default=50)
    every.add_argument("--batch", metavar="ID", help="all codes that one `create` made, instead")
    every.add_argument("--csv", action="store_true", help="as a table for spreadsheets")

    revoke = codes.command("revoke", "make an unused activation code useless", revoke_code)
    revoke.add_argument("code")


async def create_codes(built: Built, options: argparse.Namespace) -> None:
    now = clock()
    expires_at = options.expires_at or now + CODES_LAST
    if expires_at <= now:
        refuse("--expires-at is in the past")
    made = await built.ask.codes.create(operator(), options.count, expires_at, now)
    codes, batch_id = [each.code for each in made], made[0].batch_id
    if options.csv:
        say(csv_of(await built.ask.codes.batch(batch_id), now).rstrip())
    elif options.json:
        say_json({"codes": codes, "batch_id": batch_id, "expires_at": expires_at})
    else:
        say("\n".join(codes))


async def list_codes(built: Built, options: argparse.Namespace) -> None:
    now = clock()
    found: Sequence[CodeRecord]
    if options.batch:
        found = await built.ask.codes.batch(options.batch)
    else:
        found, _ = await built.ask.codes.page("", options.limit)
    if options.csv:
        say(csv_of(found, now).rstrip())
        return
    rows = [
        {
            "code": each.code,
            "state": each.state(now),
            "batch": each.batch_id,
            "created_at": each.created_at,
            "expires_at": each.expires_at,
            "used_by": each.used_by,
            "used_at": each.used_at,
        }
        for each in found
    ]
    say_rows("codes", COLUMNS, rows, as_json=options.json)


async def revoke_code(built: Built, options: argparse.Namespace) -> None:
    await built.ask.codes.revoke(operator(), options.code, clock())
    say_row({"revoked": options.code}, as_json=options.json)
