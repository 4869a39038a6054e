"""The shipped client's session: a cookie, good for thirty days or until somebody ends it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import httpx
import pytest

from dev.performer import PASSWORD, Performer, accepted, request
from dev.stack import Stack
from tests import samples
from tests.e2e.conftest import fresh_codes

# How the services are spread over processes is nothing that a cookie could tell.
pytestmark = pytest.mark.parametrize("stack", ["one"], indirect=True)

# By an administrator or by the performer.
End = Callable[[httpx.AsyncClient, Performer], Awaitable[None]]


@asynccontextmanager
async def phone(stack: Stack, performer: Performer) -> AsyncIterator[httpx.AsyncClient]:
    """The shipped client: it has logged in, keeps the cookie, and sends no header of its own."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=30) as http:
        login = {"username": performer.username, "password": PASSWORD}
        accepted(await http.post("/api/auth/login", json=login))
        yield http


async def test_an_evening_with_nothing_but_a_cookie(stack: Stack, performer: Performer) -> None:
    async with phone(stack, performer) as http:
        (cookie,) = http.cookies.jar
        assert re.fullmatch(r"nvs_[\w-]{75}", str(cookie.value))
        assert cookie.expires is not None
        accepted(await performer.upload(samples.speech()))
        memo = accepted(
            await http.post("/api/perform", json={"user_id": performer.user_id, **request("Alien", "movies")})
        )
        assert (await http.get(f"/api/audio/{memo['filename']}")).headers["content-type"] == "audio/mpeg"
        (session,) = [
            each for each in accepted(await http.get("/v1/auth/sessions"))["sessions"] if each["current"]
        ]
        ends = datetime.fromisoformat(session["expires_at"]).timestamp()
        assert cookie.expires == pytest.approx(ends, abs=5)


async def end_all(_: httpx.AsyncClient, performer: Performer) -> None:
    accepted(await performer.http.post("/v1/auth/logout-everywhere", json={}))


async def reset_the_password(admin: httpx.AsyncClient, performer: Performer) -> None:
    (code,) = await fresh_codes(admin, 1)
    wanted = {
        "email": f"{performer.username}@example.com",
        "activation_code": code,
        "new_password": "three wet umbrellas",
    }
    accepted(await performer.http.post("/api/auth/reset-password", json=wanted))


async def disable(admin: httpx.AsyncClient, performer: Performer) -> None:
    accepted(await admin.patch(f"/v1/admin/users/{performer.user_id}", json={"disabled": True}))


async def erase(_: httpx.AsyncClient, performer: Performer) -> None:
    accepted(await performer.http.request("DELETE", "/v1/users/me", json={"password": PASSWORD}))


@pytest.mark.parametrize("end", [end_all, reset_the_password, disable, erase])
async def test_a_session_that_somebody_ended_lets_nobody_in(
    stack: Stack, admin: httpx.AsyncClient, performer: Performer, end: End
) -> None:
    # The gateway holds no token for it yet, which could go on for up to fifteen minutes.
    async with phone(stack, performer) as http:
        await end(admin, performer)
        answer = await http.get("/user/settings")
        assert (answer.status_code, answer.json()["error"]) == (401, "UNAUTHENTICATED")
        assert answer.json()["message"] == "The session has ended."


async def test_logging_out_ends_the_cookie_for_whoever_kept_a_copy(
    stack: Stack, performer: Performer, stranger: httpx.AsyncClient
) -> None:
    async with phone(stack, performer) as http:
        copy = http.cookies["newvisions_session"]
        assert (await http.post("/api/auth/logout")).is_success
        assert not http.cookies
    answer = await stranger.post("/v1/auth/session-token", json={"cookie": copy})
    assert (answer.status_code, answer.json()["error"]) == (401, "SESSION_ENDED")
