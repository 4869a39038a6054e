"""A session's cookie is good for as long as the session, and only as a way to short tokens."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from tests.integration.auth_clock_stage import (
    Stage,
    as_user,
    claims_of,
    login,
    new_code,
    new_user,
    playing,
    refresh,
    refused,
    reset,
    settings,
)

ENDED = ("SESSION_ENDED", 401)


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with playing(settings(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as playing_stage:
        yield playing_stage


async def entered(stage: Stage, user: Any) -> tuple[str, Any]:
    """The cookie of a new session, and what login answered."""
    call = login(stage, user.username)
    cookie = str(dict(await call.initial_metadata())["set-cookie"]).partition(";")[0]
    return cookie.removeprefix("newvisions_session="), await call


def exchange(stage: Stage, cookie: str) -> Any:
    return stage.auth.ExchangeSessionCookie(pb.ExchangeSessionCookieRequest(cookie=cookie))


async def test_a_cookie_is_traded_for_a_short_token_of_its_session(stage: Stage) -> None:
    user = await new_user(stage)
    cookie, session = await entered(stage, user)
    answer = await exchange(stage, cookie)
    claims, of_login = claims_of(answer), claims_of(session)
    assert answer.expires_in == claims["exp"] - claims["iat"] == 900
    for name in ("sub", "sid", "roles", "iss", "aud"):
        assert claims[name] == of_login[name]
    assert "scope" not in claims


async def test_a_cookie_lasts_as_long_as_its_session_and_no_token_longer(stage: Stage) -> None:
    cookie, _ = await entered(stage, await new_user(stage))
    stage.clock.advance(days=stage.settings.session_days, minutes=-5)
    assert (await exchange(stage, cookie)).expires_in == 300
    stage.clock.advance(minutes=5)
    assert await refused(exchange(stage, cookie)) == ENDED


async def log_out(stage: Stage, user: Any, session: Any) -> None:
    await stage.auth.Logout(pb.LogoutRequest(), **as_user(user, session))


async def end_it(stage: Stage, user: Any, session: Any) -> None:
    asked = account_pb.EndSessionRequest(session_id=claims_of(session)["sid"])
    await stage.account.EndSession(asked, **as_user(user))


async def end_all(stage: Stage, user: Any, session: Any) -> None:
    await stage.account.EndAllSessions(account_pb.EndAllSessionsRequest(), **as_user(user))


async def reset_password(stage: Stage, user: Any, session: Any) -> None:
    await reset(stage, user.email, await new_code(stage))


async def disable(stage: Stage, user: Any, session: Any) -> None:
    await stage.change("users", user.user_id, disabled=True)


async def steal_the_refresh_token(stage: Stage, user: Any, session: Any) -> None:
    await refresh(stage, session)
    stage.clock.advance(seconds=31)
    await refused(refresh(stage, session))


@pytest.mark.parametrize("end", [log_out, end_it, end_all, reset_password, disable, steal_the_refresh_token])
async def test_a_cookie_ends_with_its_session(
    stage: Stage, end: Callable[[Stage, Any, Any], Awaitable[None]]
) -> None:
    user = await new_user(stage)
    cookie, session = await entered(stage, user)
    assert await exchange(stage, cookie)
    await end(stage, user, session)
    stage.clock.advance(seconds=1)
    assert await refused(exchange(stage, cookie)) == ENDED
    # It does not come back with the user.
    await stage.change("users", user.user_id, disabled=False)
    assert await refused(exchange(stage, cookie)) == ENDED


async def test_refreshing_and_other_sessions_leave_a_cookie_as_it_is(stage: Stage) -> None:
    user = await new_user(stage)
    cookie, session = await entered(stage, user)
    await refresh(stage, session)
    other, their_session = await entered(stage, user)
    await log_out(stage, user, their_session)
    assert await exchange(stage, cookie)
    assert await refused(exchange(stage, other)) == ENDED


async def test_the_name_of_a_session_opens_nothing_without_its_secret(stage: Stage) -> None:
    user = await new_user(stage)
    cookie, session = await entered(stage, user)
    others, _ = await entered(stage, user)
    without_cookie, _ = await stage.built.ask.logins.open_session(
        await stage.built.ask.users.get(user.user_id), stage.clock(), stage.settings.session_lives
    )
    named = without_cookie.session_id.replace("-", "")
    for wrong in (
        cookie[:36] + others[36:],
        cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        f"nvs_{named}{'A' * 43}",
        f"nvs_{uuid4().hex}{cookie[36:]}",
        session.access_token[:128],
        session.refresh_token[:128],
        "nvs_",
        "é" * 60,
    ):
        assert await refused(exchange(stage, wrong)) == ENDED, wrong
    assert await exchange(stage, cookie)


async def test_only_a_hash_of_the_cookie_is_kept(stage: Stage) -> None:
    cookie, session = await entered(stage, await new_user(stage))
    kept = await stage.kept("sessions", claims_of(session)["sid"])
    assert cookie[36:] not in json.dumps(kept, default=str)
    assert re.fullmatch("[0-9a-f]{64}", kept["cookie"])


async def test_twenty_exchanges_at_once_are_harmless(stage: Stage) -> None:
    cookie, session = await entered(stage, await new_user(stage))
    stage.clock.advance(minutes=10)
    tokens = await asyncio.gather(*(exchange(stage, cookie) for _ in range(20)))
    assert {claims_of(each)["sid"] for each in tokens} == {claims_of(session)["sid"]}
    assert await refresh(stage, session)


async def test_users_see_when_a_session_was_last_used_but_not_each_use(stage: Stage) -> None:
    user = await new_user(stage)
    cookie, _ = await entered(stage, user)

    async def last_used() -> int:
        (found,) = (
            await stage.account.ListSessions(account_pb.ListSessionsRequest(), **as_user(user))
        ).sessions
        return int(found.last_used_at.ToMilliseconds())

    stage.clock.advance(minutes=5)
    used = round(stage.clock().timestamp() * 1000)
    await exchange(stage, cookie)
    assert await last_used() == used
    stage.clock.advance(minutes=4)
    await exchange(stage, cookie)
    assert await last_used() == used
