"""`newvisions admin credits`: what a user's month holds."""

import argparse
from typing import Any
from uuid import UUID, uuid4

from services.auth.cli.commands import Group, find_user, operator, say_row
from services.auth.composition import Built
from services.auth.domain.credits import Adjustment, turns_at
from services.auth.usecases.credits import Account
from services.kernel.clock import clock


def declare(things: Any) -> None:
    group = Group(things, "credits", "credits of users")
    show = group.command("show", "a user's month", show_credits)
    adjust = group.command("adjust", "give credits to a user's running month, or take some", adjust_credits)
    for command in (show, adjust):
        command.add_argument("user", help="username, email or id")
    adjust.add_argument("amount", type=_amount, help="positive gives, negative takes")
    adjust.add_argument("--reason", required=True, type=_reason, help="for the statement and the audit log")
    adjust.add_argument("--id", type=UUID, help="a UUID; repeated with the same one, it happens once")


async def show_credits(built: Built, options: argparse.Namespace) -> None:
    user = await find_user(built, options.user)
    say_account(await built.ask.credits.account(user.user_id, clock()), as_json=options.json)


async def adjust_credits(built: Built, options: argparse.Namespace) -> None:
    user = await find_user(built, options.user)
    wanted = Adjustment(str(options.id or uuid4()), options.amount, options.reason)
    account = await built.ask.administration.adjust_credits(operator(), user.user_id, wanted, clock())
    say_account(account, as_json=options.json)


def _amount(text: str) -> int:
    amount = int(text)
    if amount == 0 or abs(amount) > 1_000_000:
        raise argparse.ArgumentTypeError("must be between -1000000 and 1000000, and not 0")
    return amount


def _reason(text: str) -> str:
    if not 3 <= len(text) <= 500:
        raise argparse.ArgumentTypeError("must have 3 to 500 characters")
    return text


def say_account(account: Account, *, as_json: bool) -> None:
    month = {
        "user_id": account.user.user_id,
        "period": account.balance.period,
        "char_count": account.balance.used,
        "reserved_chars": account.balance.reserved,
        "monthly_limit": account.limit,
        "resets_at": turns_at(clock()),
    }
    say_row(month, as_json=as_json)
