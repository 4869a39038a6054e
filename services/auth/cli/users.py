"""`newvisions admin users`: who there is, and who may sign in."""

import argparse
from typing import Any

from services.auth.cli.commands import Group, between, find_user, operator, say_row, say_rows
from services.auth.composition import Built
from services.auth.domain.administration import UserChanges
from services.auth.usecases.credits import Account
from services.kernel.clock import clock

COLUMNS = ("user_id", "username", "email", "roles", "disabled", "created_at")


def declare(things: Any) -> None:
    users = Group(things, "users", "users")

    every = users.command("list", "the newest users", list_users)
    every.add_argument("--limit", type=between(1, 1000), default=50)

    for verb, does, run in (
        ("show", "one user", show_user),
        ("disable", "end a user's sessions and let them sign in no more", disable_user),
        ("enable", "let a disabled user sign in again", enable_user),
    ):
        users.command(verb, does, run).add_argument("user", help="username, email or id")

    limit = users.command(
        "limit", "give a user a monthly limit of their own, or the plan's again", limit_user
    )
    limit.add_argument("user", help="username, email or id")
    limit.add_argument("limit", type=_limit, help='credits a month, or "plan"')


async def list_users(built: Built, options: argparse.Namespace) -> None:
    accounts, _ = await built.ask.administration.users("", options.limit, clock())
    rows = [shown(account) for account in accounts]
    say_rows("users", COLUMNS, rows, as_json=options.json)


async def show_user(built: Built, options: argparse.Namespace) -> None:
    user = await find_user(built, options.user)
    say_row(shown(await built.ask.credits.account(user.user_id, clock())), as_json=options.json)


async def disable_user(built: Built, options: argparse.Namespace) -> None:
    await change_user(built, options, UserChanges(disabled=True))


async def enable_user(built: Built, options: argparse.Namespace) -> None:
    await change_user(built, options, UserChanges(disabled=False))


async def limit_user(built: Built, options: argparse.Namespace) -> None:
    changes = UserChanges(monthly_limit=options.limit, follows_plan=options.limit is None)
    await change_user(built, options, changes)


def _limit(text: str) -> int | None:
    return None if text == "plan" else between(0, 10_000_000)(text)


async def change_user(built: Built, options: argparse.Namespace, changes: UserChanges) -> None:
    user = await find_user(built, options.user)
    account = await built.ask.administration.update_user(operator(), user.user_id, changes, clock())
    say_row(shown(account), as_json=options.json)


def shown(account: Account) -> dict[str, Any]:
    user = account.user
    return {
        "user_id": user.user_id,
        "username": user.username,
        "email": user.email,
        "roles": " ".join(user.roles),
        "disabled": user.disabled,
        "created_at": user.created_at,
        "plan": account.plan,
        "char_count": account.balance.used,
        "monthly_limit": account.limit,
    }
