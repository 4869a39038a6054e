"""`newvisions admin audit`: who did what to whom."""

import argparse
from typing import Any

from services.auth.cli.commands import Group, between, say_rows
from services.auth.composition import Built

COLUMNS = ("at", "actor", "action", "subject", "detail", "request_id")


def declare(things: Any) -> None:
    audit = Group(things, "audit", "the audit log")
    audit.command("list", "the newest entries", list_entries).add_argument(
        "--limit", type=between(1, 1000), default=50
    )


async def list_entries(built: Built, options: argparse.Namespace) -> None:
    entries, _ = await built.ask.audit.page("", options.limit)
    rows = [
        {
            "id": entry.entry_id,
            "at": entry.at,
            "actor": entry.actor.name,
            "action": entry.action,
            "subject": entry.subject,
            "detail": entry.detail,
            "request_id": entry.actor.request_id,
        }
        for entry in entries
    ]
    say_rows("entries", COLUMNS, rows, as_json=options.json)
