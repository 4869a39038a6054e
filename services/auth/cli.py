"""The operator's command line: activation codes, operator tokens, the list of users."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from services.auth.composition import Built, build, clock
from services.auth.domain.accounts import CODES_LAST, ROLE_ADMIN, ROLE_USER, User
from services.auth.domain.errors import EmailTaken, UsernameTaken
from services.auth.settings import Settings
from services.auth.vault import KeyFileUnusable
from services.kernel import logs
from services.kernel.errors import ServiceError

Command = Callable[[Built, argparse.Namespace], Awaitable[None]]

# No password opens these accounts; their domain can never receive mail (RFC 2606).
OPERATOR_DOMAIN = "operators.invalid"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    logs.configure("WARNING")
    try:
        asyncio.run(_run(options.command, options))
    except (ServiceError, KeyFileUnusable) as failure:
        sys.exit(f"newvisions admin: {failure}")
    except ValidationError as failure:
        wrong = ", ".join(f"AUTH_{error['loc'][0]}".upper() for error in failure.errors())
        sys.exit(f"newvisions admin: set these environment variables: {wrong}")


async def _run(command: Command, options: argparse.Namespace) -> None:
    async with build(Settings()) as built:  # type: ignore[call-arg]
        await command(built, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="newvisions admin", description=__doc__)
    things = parser.add_subparsers(required=True, metavar="codes|token|users")

    codes = _command(things, "codes", "create", "make activation codes", create_codes)
    codes.add_argument("--count", type=_between(1, 1000), default=1)
    codes.add_argument("--expires-at", type=_moment, help="ISO 8601; a year from now when not given")

    token = _command(things, "token", "create", "make an operator's access token", create_token)
    token.add_argument("--role", choices=[ROLE_ADMIN], default=ROLE_ADMIN)
    token.add_argument("--username", default="operator", help="made when missing (default: operator)")
    token.add_argument("--hours", type=_between(1, 24 * 31), default=12)

    users = _command(things, "users", "list", "the newest users", list_users)
    users.add_argument("--limit", type=_between(1, 1000), default=50)
    return parser


def _command(things: Any, thing: str, verb: str, does: str, run: Command) -> argparse.ArgumentParser:
    verbs = things.add_parser(thing).add_subparsers(required=True, metavar=verb)
    command: argparse.ArgumentParser = verbs.add_parser(verb, help=does, description=does)
    command.add_argument("--json", action="store_true", help="one JSON line, for scripts")
    command.set_defaults(command=run)
    return command


async def create_codes(built: Built, options: argparse.Namespace) -> None:
    now = clock()
    expires_at = options.expires_at or now + CODES_LAST
    if expires_at <= now:
        sys.exit("newvisions admin: --expires-at is in the past")
    made = await built.ask.registrations.create_codes(options.count, expires_at, "cli", now)
    codes = [each.code for each in made]
    if options.json:
        _say(json.dumps({"codes": codes, "expires_at": expires_at.isoformat()}))
    else:
        _say("\n".join(codes))


async def create_token(built: Built, options: argparse.Namespace) -> None:
    now, lives = clock(), timedelta(hours=options.hours)
    user = await _operator(built, options.username, options.role, now)
    session, _ = await built.ask.logins.open_session(user, now, lives)
    token = built.makers.access.mint(user, session.session_id, now, lives)
    if options.json:
        answer = {"user_id": user.user_id, "username": user.username, "access_token": token}
        _say(json.dumps({**answer, "expires_at": session.expires_at.isoformat()}))
    else:
        _say(token)


async def _operator(built: Built, username: str, role: str, now: datetime) -> User:
    """The user with this name and role, made when there is none with the name."""
    users = built.database.users
    wanted = User(
        user_id=str(uuid4()),
        username=username,
        email=f"{username}@{OPERATOR_DOMAIN}",
        password_hash=None,
        created_at=now,
        roles=(ROLE_USER, role),
    )
    try:
        await users.add(wanted)
    except (UsernameTaken, EmailTaken):
        found = await users.named(username)
        if found is None or role not in found.roles or found.disabled:
            sys.exit(
                f"newvisions admin: the user {username} has not the role {role}; choose another --username"
            )
        return found
    return wanted


async def list_users(built: Built, options: argparse.Namespace) -> None:
    users = await built.database.users.newest(clock(), options.limit)
    rows = [
        {
            "user_id": user.user_id,
            "username": user.username,
            "email": user.email,
            "roles": " ".join(user.roles),
            "created_at": user.created_at.isoformat(timespec="seconds"),
        }
        for user in users
    ]
    if options.json:
        _say(json.dumps({"users": rows}))
        return
    columns = ("user_id", "username", "email", "roles", "created_at")
    table = [dict(zip(columns, columns, strict=True)), *rows]
    widths = {name: max(len(row[name]) for row in table) for name in columns}
    _say("\n".join("  ".join(row[name].ljust(widths[name]) for name in columns).rstrip() for row in table))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
