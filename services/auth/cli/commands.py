"""How a command is declared, who runs it, and how its answer is shown."""

import argparse
import json
import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from services.auth.composition import Built
from services.auth.domain.accounts import User
from services.auth.domain.audit import Actor

Command = Callable[[Built, argparse.Namespace], Awaitable[None]]
Row = Mapping[str, Any]


class Group:
    """Commands about one kind of thing."""

    def __init__(self, things: Any, thing: str, about: str) -> None:
        parser = things.add_parser(thing, help=about, description=about)
        self._verbs = parser.add_subparsers(required=True, metavar="command")

    def command(self, verb: str, does: str, run: Command) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = self._verbs.add_parser(verb, help=does, description=does)
        command.add_argument("--json", action="store_true", help="one JSON line, for scripts")
        command.set_defaults(command=run)
        return command


def operator() -> Actor:
    """Who runs this, as the operating system knows them; the environment could say anything."""
    uid = os.getuid()
    try:
        return Actor(f"cli:{pwd.getpwuid(uid).pw_name}")
    except KeyError:
        return Actor(f"cli:{uid}")


async def find_user(built: Built, name: str) -> User:
    """By username, email or id. Raises UserNotFound."""
    return await built.database.users.named(name) or await built.database.users.get(name)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def say_json(answer: Row) -> None:
    say(json.dumps(answer, default=_plain))


def say_row(row: Row, *, as_json: bool) -> None:
    """One thing: a name and a value on each line."""
    if as_json:
        say_json(row)
        return
    width = max(len(name) for name in row)
    say("\n".join(f"{name.ljust(width)}  {_cell(value)}".rstrip() for name, value in row.items()))


def say_rows(key: str, columns: Sequence[str], rows: Sequence[Row], *, as_json: bool) -> None:
    """Many things: a table with a heading."""
    if as_json:
        say_json({key: rows})
        return
    table = [dict(zip(columns, columns, strict=True))]
    table += [{name: _cell(row[name]) for name in columns} for row in rows]
    widths = {name: max(len(row[name]) for row in table) for name in columns}
    say("\n".join("  ".join(row[name].ljust(widths[name]) for name in columns).rstrip() for row in table))


def refuse(complaint: str) -> NoReturn:
    sys.exit(f"newvisions admin: {complaint}")


def between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    raise TypeError(f"{type(value).__name__} has no place in an answer")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return _plain(value)
        case Mapping():
            return ", ".join(f"{name}={inner}" for name, inner in value.items())
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)
