"""`newvisions admin token`: a way in before there is an administrator."""

import argparse
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from services.auth.cli.commands import Group, between, operator, refuse, say, say_json
from services.auth.composition import Built
from services.auth.domain.accounts import ROLE_ADMIN, ROLE_USER, User
from services.auth.usecases.audit import Change
from services.kernel.clock import clock

# No password opens these accounts; their domain can never receive mail (RFC 2606).
OPERATOR_DOMAIN = "operators.invalid"


def declare(things: Any) -> None:
    tokens = Group(things, "token", "access tokens of operators")
    create = tokens.command("create", "make an operator's access token", create_token)
    create.add_argument("--role", choices=[ROLE_ADMIN], default=ROLE_ADMIN)
    create.add_argument("--username", default="operator", help="made when missing (default: operator)")
    create.add_argument("--hours", type=between(1, 24 * 31), default=12)


async def create_token(built: Built, options: argparse.Namespace) -> None:
    now, lives = clock(), timedelta(hours=options.hours)
    known = await built.database.users.named(options.username)
    if known and (options.role not in known.roles or known.disabled):
        refuse(f"the user {options.username} has not the role {options.role}; choose another --username")
    change = Change("token_created", options.username, {"role": options.role, "hours": str(options.hours)})
    async with built.ask.audit.recorded(operator(), change, now):
        user = known or await _made(built, options.username, options.role, now)
        session, _ = await built.ask.logins.open_session(user, now, lives)
    await built.ask.keys.keep_until(now + lives, now)
    token = built.makers.access.mint(user, session.session_id, now, lives)
    if options.json:
        answer = {"user_id": user.user_id, "username": user.username, "access_token": token}
        say_json({**answer, "expires_at": session.expires_at})
    else:
        say(token)


async def _made(built: Built, username: str, role: str, now: datetime) -> User:
    user = User(
        user_id=str(uuid4()),
        username=username,
        email=f"{username}@{OPERATOR_DOMAIN}",
        password_hash=None,
        created_at=now,
        roles=(ROLE_USER, role),
    )
    await built.database.users.add(user)
    return user
