"""A new password for an unused activation code: once, for the right user, and for nobody who guesses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import grpc
import pytest
from prometheus_client import REGISTRY

from services.auth.domain.accounts import User
from services.auth.domain.codes import CodeState
from services.auth.domain.errors import ApiKeyInvalid, CredentialsInvalid, SessionEnded
from services.auth.domain.sessions import Client
from services.auth.usecases.api_keys import WantedKey
from services.auth.usecases.credentials import Credentials
from services.auth.usecases.login import Logins
from tests.integration.auth_clock_stage import (
    PASSWORD,
    Stage,
    claims_of,
    failure,
    login,
    new_code,
    new_user,
    playing,
    refresh,
    refused,
    reset,
    settings,
)

INVALID = ("ACTIVATION_CODE_INVALID", 400)
NEW = "three wet umbrellas"


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with playing(settings(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as playing_stage:
        yield playing_stage


async def test_a_reset_changes_the_password_and_ends_all_sessions(stage: Stage) -> None:
    user = await new_user(stage)
    sessions = [await login(stage, user.username) for _ in range(2)]
    stage.clock.advance(seconds=1)
    await reset(stage, user.email.upper(), await new_code(stage), NEW)
    for session in sessions:
        assert await refused(refresh(stage, session)) == ("REFRESH_TOKEN_INVALID", 401)
    assert await refused(login(stage, user.username, PASSWORD)) == ("CREDENTIALS_INVALID", 401)
    assert await refresh(stage, await login(stage, user.username, NEW))


async def test_a_reset_ends_all_api_keys(stage: Stage) -> None:
    user, keys = await new_user(stage), stage.built.ask.key_access
    _, text = await keys.create(user.user_id, WantedKey("shop"), stage.clock())
    assert await keys.exchange(text, stage.clock())
    stage.clock.advance(seconds=1)
    await reset(stage, user.email, await new_code(stage), NEW)
    with pytest.raises(ApiKeyInvalid):
        await keys.exchange(text, stage.clock())
    assert await keys.list(user.user_id, stage.clock()) == []
    _, newer = await keys.create(user.user_id, WantedKey("shop"), stage.clock())
    assert await keys.exchange(newer, stage.clock())


async def test_a_token_from_before_the_reset_makes_no_api_key(stage: Stage) -> None:
    user, keys = await new_user(stage), stage.built.ask.key_access
    older = claims_of(await login(stage, user.username))["sid"]
    stage.clock.advance(seconds=1)
    await reset(stage, user.email, await new_code(stage), NEW)
    with pytest.raises(SessionEnded):
        await keys.create(user.user_id, WantedKey("shop"), stage.clock(), older)
    newer = claims_of(await login(stage, user.username, NEW))["sid"]
    assert await keys.create(user.user_id, WantedKey("shop"), stage.clock(), newer)


async def test_no_api_key_outlives_a_reset_that_died_before_it_was_deleted(stage: Stage) -> None:
    user, keys = await new_user(stage), stage.built.ask.key_access
    _, text = await keys.create(user.user_id, WantedKey("shop"), stage.clock())
    stage.clock.advance(seconds=1)
    users, code = stage.built.database.users, await new_code(stage)
    assert await users.reset_password(user.user_id, "a hash", code, stage.clock())
    with pytest.raises(ApiKeyInvalid):
        await keys.exchange(text, stage.clock())


class Overtaken:
    """A login whose password is good when it is compared, and then something else comes first."""

    def __init__(self, credentials: Credentials, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._credentials = credentials
        self._meanwhile = meanwhile

    async def owner(self, *asked: Any) -> User:
        user = await self._credentials.owner(*asked)
        await self._meanwhile()
        return user


async def test_a_login_with_the_old_password_that_a_reset_overtakes_is_refused(stage: Stage) -> None:
    user, code = await new_user(stage), await new_code(stage)
    kept = stage.built
    overtaken = cast(Any, Overtaken(kept.credentials, lambda: reset(stage, user.email, code, NEW)))
    logins = Logins(kept.database.users, kept.database.sessions, overtaken, kept.makers, uuid4)
    # It began after the reset, which takes its time for the new password.
    later = stage.clock() + timedelta(seconds=1)
    with pytest.raises(CredentialsInvalid):
        await logins.login(user.username, PASSWORD, Client("", ""), later)
    assert not await kept.database.sessions.of(user.user_id, later, 10)


async def test_a_login_that_began_before_the_reset_opens_no_lasting_session(stage: Stage) -> None:
    user = await new_user(stage)
    known = await stage.built.database.users.get(user.user_id)
    began = stage.clock()
    stage.clock.advance(seconds=1)
    await reset(stage, user.email, await new_code(stage), NEW)
    # Its password was compared before, its session is written after.
    lives = stage.settings.session_lives
    _, token = await stage.built.ask.logins.open_session(known, began, lives)
    late = type("Answer", (), {"refresh_token": token.text})
    assert await refused(refresh(stage, late)) == ("REFRESH_TOKEN_INVALID", 401)


async def test_each_code_resets_once_also_when_asked_at_once(stage: Stage) -> None:
    user, code = await new_user(stage), await new_code(stage)
    outcomes = await asyncio.gather(
        *(reset(stage, user.email, code, f"umbrella number {n}") for n in range(20)), return_exceptions=True
    )
    done = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(done) == 1
    assert await login(stage, user.username, f"umbrella number {done[0]}")


async def test_an_older_code_stays_spent_after_a_newer_reset(stage: Stage) -> None:
    user, older, newer = await new_user(stage), await new_code(stage), await new_code(stage)
    await reset(stage, user.email, older)
    await reset(stage, user.email, newer)
    for code in (older, newer):
        assert await refused(reset(stage, user.email, code)) == INVALID


async def test_the_code_that_made_the_user_does_not_reset_the_password(stage: Stage) -> None:
    user = await new_user(stage)
    code = (await stage.kept("users", user.user_id))["activation_code"]
    assert await refused(reset(stage, user.email, code)) == INVALID
    # As if the process had died before it could note that the code was used.
    await stage.change("activation_codes", code, state="unused", claimed_until=stage.clock())
    assert await refused(reset(stage, user.email, code)) == INVALID


async def test_a_reset_that_died_halfway_is_finished_by_asking_again(stage: Stage) -> None:
    user, other, code = await new_user(stage), await new_user(stage), await new_code(stage)
    assert await stage.built.database.codes.spend(code, user.user_id, stage.clock())
    assert await refused(reset(stage, other.email, code)) == INVALID
    await reset(stage, user.email, code, NEW)
    assert await login(stage, user.username, NEW)
    assert await refused(reset(stage, user.email, code)) == INVALID


async def test_unknown_emails_and_bad_codes_fail_alike_and_cost_no_code(stage: Stage) -> None:
    user, code = await new_user(stage), await new_code(stage)
    refusals = [
        (await failure(call))[0]
        for call in (
            reset(stage, "nobody@example.org", code),
            reset(stage, "no email", code),
            reset(stage, user.email, "AAAAAAAAAAA"),
            reset(stage, "nobody@example.org", "AAAAAAAAAAA"),
        )
    ]
    assert refusals == [refusals[0]] * 4
    assert (refusals[0].error, refusals[0].http_status) == INVALID
    assert (await stage.kept("activation_codes", code))["state"] == CodeState.UNUSED
    assert await login(stage, user.username)


async def test_every_refused_reset_does_the_same_work(stage: Stage) -> None:
    user, code = await new_user(stage), await new_code(stage)
    asked = [(user.email, "AAAAAAAAAAA"), ("nobody@example.org", "AAAAAAAAAAA"), ("nobody@example.org", code)]
    hashed = []
    for email, tried in asked:
        before = _hashes()
        await refused(reset(stage, email, tried))
        hashed.append(_hashes() - before)
    assert hashed == [1, 1, 1]


def _hashes() -> float:
    return REGISTRY.get_sample_value("auth_password_seconds_count") or 0


async def test_each_reset_stands_in_the_audit_log(stage: Stage) -> None:
    user, other, code = await new_user(stage), await new_user(stage), await new_code(stage)
    await reset(stage, user.email, code, NEW)
    for email in (user.email, other.email):
        assert await refused(reset(stage, email, code)) == INVALID
    written = {
        whose.user_id: [
            (entry.actor.name, entry.action)
            for entry in await stage.built.database.audit.page(None, 1000)
            if entry.subject == whose.user_id
        ]
        for whose in (user, other)
    }
    by_code = "activation-code"
    # A second try with the code of the first is told; a code that is not good for an account is no entry.
    tried_again = [(by_code, "password_reset_failed"), (by_code, "password_reset")]
    assert sorted(written[user.user_id]) == sorted([*tried_again, (by_code, "password_reset")])
    assert written[other.user_id] == []


@pytest.mark.parametrize(
    "change",
    [
        {"roles": ["user", "admin"]},
        {"roles": ["user", "operator"]},
        {"disabled": True},
        {"password_hash": None},
    ],
)
async def test_no_code_opens_the_account_of_an_operator_or_of_a_disabled_user(
    stage: Stage, change: dict[str, object]
) -> None:
    user, code = await new_user(stage), await new_code(stage)
    await stage.change("users", user.user_id, **change)
    assert await refused(reset(stage, user.email, code)) == INVALID
    assert (await stage.kept("activation_codes", code))["state"] == CodeState.UNUSED


@pytest.mark.parametrize(
    ("password", "path", "error"),
    [
        ("qr7mZ4k", "/v1", "PASSWORD_TOO_WEAK"),
        ("Password1!", "/v1", "PASSWORD_BREACHED"),
        ("qwerty", "/api", "PASSWORD_BREACHED"),
    ],
)
async def test_a_new_password_is_as_good_as_a_first_one(
    stage: Stage, password: str, path: str, error: str
) -> None:
    user, code = await new_user(stage), await new_code(stage)
    assert await refused(reset(stage, user.email, code, password, path)) == (error, 400)
    assert (await stage.kept("activation_codes", code))["state"] == CodeState.UNUSED


async def test_the_shipped_client_may_choose_six_characters(stage: Stage) -> None:
    user = await new_user(stage)
    await reset(stage, user.email, await new_code(stage), "qr7mZ4", "/api")
    assert await login(stage, user.username, "qr7mZ4")


async def test_guessing_codes_for_an_email_becomes_slow(stage: Stage) -> None:
    user = await new_user(stage)
    for _ in range(5):
        assert await refused(reset(stage, user.email, "AAAAAAAAAAA")) == INVALID
    error, retry_after = await failure(reset(stage, user.email, await new_code(stage)))
    assert (error.error, error.http_status, retry_after) == ("LOGIN_SLOWED", 429, 1)
