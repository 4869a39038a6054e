"""`newvisions admin roles`: who may look, and who may change."""

import argparse
from typing import Any

from services.auth.cli.commands import Group, find_user
from services.auth.cli.users import change_user
from services.auth.composition import Built
from services.auth.domain.accounts import ROLE_USER
from services.auth.domain.administration import ROLES, UserChanges, roles_of


def declare(things: Any) -> None:
    roles = Group(things, "roles", "roles of users")
    for verb, does, run in (
        ("grant", "give a user a role", grant_role),
        ("revoke", "take a role from a user", revoke_role),
    ):
        command = roles.command(verb, does, run)
        command.add_argument("user", help="username, email or id")
        command.add_argument("role", choices=[role for role in ROLES if role != ROLE_USER])


async def grant_role(built: Built, options: argparse.Namespace) -> None:
    held = (await find_user(built, options.user)).roles
    await change_user(built, options, UserChanges(roles=roles_of([*held, options.role])))


async def revoke_role(built: Built, options: argparse.Namespace) -> None:
    held = (await find_user(built, options.user)).roles
    left = roles_of(role for role in held if role != options.role)
    await change_user(built, options, UserChanges(roles=left))
