"""`newvisions admin api-keys`: which servers act for a user."""

import argparse
from typing import Any

from services.auth.cli.commands import Group, find_user, operator, say_row, say_rows
from services.auth.composition import Built
from services.kernel.clock import clock

COLUMNS = ("id", "prefix", "name", "scopes", "created_at", "expires_at", "last_used_at")


def declare(things: Any) -> None:
    keys = Group(things, "api-keys", "API keys of users")
    keys.command("list", "a user's API keys", list_keys).add_argument("user", help="username, email or id")
    delete = keys.command("delete", "end an API key, within five minutes", delete_key)
    delete.add_argument("key_id", help="as `api-keys list` shows it")


async def list_keys(built: Built, options: argparse.Namespace) -> None:
    user = await find_user(built, options.user)
    rows = [
        {
            "id": key.key_id,
            "prefix": key.shown,
            "name": key.name,
            "scopes": key.scopes,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "last_used_at": key.last_used_at,
        }
        for key in await built.ask.key_access.list(user.user_id, clock())
    ]
    say_rows("api_keys", COLUMNS, rows, as_json=options.json)


async def delete_key(built: Built, options: argparse.Namespace) -> None:
    await built.ask.administration.delete_api_key(operator(), options.key_id, clock())
    say_row({"deleted": options.key_id}, as_json=options.json)
