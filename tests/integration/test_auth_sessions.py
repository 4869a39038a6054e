"""Sessions, from login to their end, and the keys that sign for them, with a clock that a test may turn."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from jwt import PyJWK

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.domain.errors import SigningKeyWaiting
from services.auth.domain.signing_keys import KeyState
from tests.integration.auth_clock_stage import (
    Stage,
    as_user,
    claims_of,
    login,
    new_user,
    playing,
    refresh,
    refused,
    settings,
)

ENDED = ("REFRESH_TOKEN_INVALID", 401)
NOT_FOUND = ("SESSION_NOT_FOUND", 404)


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with playing(settings(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as playing_stage:
        yield playing_stage


async def listed(stage: Stage, user: Any, session: Any = None) -> list[account_pb.Session]:
    asked = account_pb.ListSessionsRequest()
    return list((await stage.account.ListSessions(asked, **as_user(user, session))).sessions)


def end(stage: Stage, user: Any, session_id: str) -> Any:
    return stage.account.EndSession(account_pb.EndSessionRequest(session_id=session_id), **as_user(user))


async def test_users_see_their_live_sessions_newest_first(stage: Stage) -> None:
    user, other = await new_user(stage), await new_user(stage)
    phone = await login(stage, user.username)
    stage.clock.advance(minutes=1)
    opened = stage.clock()
    laptop = await login(stage, user.username)
    await login(stage, other.username)
    stage.clock.advance(minutes=1)
    await refresh(stage, phone)
    first, second = await listed(stage, user, laptop)
    assert [first.id, second.id] == [claims_of(laptop)["sid"], claims_of(phone)["sid"]]
    assert (first.current, second.current) == (True, False)
    assert first.created_at.ToMilliseconds() == first.last_used_at.ToMilliseconds()
    assert first.created_at.ToMilliseconds() == round(opened.timestamp() * 1000)
    assert second.last_used_at.ToMilliseconds() == round(stage.clock().timestamp() * 1000)
    assert first.expires_at.ToDatetime() - first.created_at.ToDatetime() == stage.settings.session_lives


async def test_a_session_tells_what_its_client_called_itself(stage: Stage) -> None:
    user = await new_user(stage)
    session = await login(stage, user.username)
    (found,) = await listed(stage, user)
    assert found.id == claims_of(session)["sid"]
    assert found.client.startswith("grpc-python")


async def test_a_user_ends_one_session_and_keeps_the_others(stage: Stage) -> None:
    user = await new_user(stage)
    lost, kept = await login(stage, user.username), await login(stage, user.username)
    sid = claims_of(lost)["sid"]
    await end(stage, user, sid)
    assert await refused(refresh(stage, lost)) == ENDED
    assert await refresh(stage, kept)
    assert [each.id for each in await listed(stage, user)] == [claims_of(kept)["sid"]]
    assert await refused(end(stage, user, sid)) == NOT_FOUND


async def test_sessions_of_others_do_not_exist(stage: Stage) -> None:
    user, stranger = await new_user(stage), await new_user(stage)
    session = await login(stage, user.username)
    for sid in (claims_of(session)["sid"], str(uuid4()), "no id"):
        assert await refused(end(stage, stranger, sid)) == NOT_FOUND
    assert await refresh(stage, session)


async def test_logging_out_everywhere_ends_every_session_and_clears_the_cookie(stage: Stage) -> None:
    user, other = await new_user(stage), await new_user(stage)
    sessions = [await login(stage, user.username) for _ in range(3)]
    unharmed = await login(stage, other.username)
    call = stage.account.EndAllSessions(account_pb.EndAllSessionsRequest(), **as_user(user, sessions[0]))
    assert "Max-Age=0" in str(dict(await call.initial_metadata())["set-cookie"])
    await call
    for session in sessions:
        assert await refused(refresh(stage, session)) == ENDED
    assert await listed(stage, user) == []
    assert await refresh(stage, unharmed)
    stage.clock.advance(seconds=1)
    assert await refresh(stage, await login(stage, user.username))


async def test_a_session_ends_however_often_it_was_refreshed(stage: Stage) -> None:
    user = await new_user(stage)
    session = await login(stage, user.username)
    days = stage.settings.session_days
    for _ in range(days - 1):
        stage.clock.advance(days=1)
        session = await refresh(stage, session)
    stage.clock.advance(days=1, minutes=-5)
    last = await refresh(stage, session)
    # No access token outlives the session.
    assert last.expires_in == 300
    stage.clock.advance(minutes=5)
    assert await refused(refresh(stage, last)) == ENDED
    assert await listed(stage, user) == []


async def test_a_lost_answer_can_be_asked_for_again_for_thirty_seconds(stage: Stage) -> None:
    session = await login(stage, (await new_user(stage)).username)
    successor = await refresh(stage, session)
    stage.clock.advance(seconds=30)
    again = await asyncio.gather(*(refresh(stage, session) for _ in range(5)))
    assert {each.refresh_token for each in again} == {successor.refresh_token}
    stage.clock.advance(milliseconds=1)
    assert await refused(refresh(stage, session)) == ENDED


async def test_a_stolen_token_that_is_used_late_ends_the_whole_family(stage: Stage) -> None:
    user = await new_user(stage)
    first, unrelated = await login(stage, user.username), await login(stage, user.username)
    second = await refresh(stage, first)
    third = await refresh(stage, second)
    stage.clock.advance(seconds=31)
    assert await refused(refresh(stage, second)) == ENDED
    assert await refused(refresh(stage, third)) == ENDED
    assert await refresh(stage, unrelated)


async def test_a_disabled_user_is_refused_like_a_wrong_password_and_loses_the_session(stage: Stage) -> None:
    user = await new_user(stage)
    session = await login(stage, user.username)
    await stage.change("users", user.user_id, disabled=True)
    wrong = await refused(login(stage, user.username, "wrong password"))
    assert await refused(login(stage, user.username)) == wrong == ("CREDENTIALS_INVALID", 401)
    assert await refused(refresh(stage, session)) == ENDED
    # It does not come back with the user.
    await stage.change("users", user.user_id, disabled=False)
    assert await refused(refresh(stage, session)) == ENDED
    assert await login(stage, user.username)


async def published(stage: Stage) -> dict[str, Any]:
    keys = (await stage.auth.GetJwks(pb.GetJwksRequest())).keys
    return {key.kid: {field.name: value for field, value in key.ListFields()} for key in keys}


async def verifies(stage: Stage, session: Any) -> bool:
    """As the gateway would with the keys as they are published now; time is the clock's matter."""
    known = await published(stage)
    kid = jwt.get_unverified_header(session.access_token)["kid"]
    if kid not in known:
        return False
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    jwt.decode(session.access_token, PyJWK(known[kid]), ["EdDSA"], audience="newvisions", options=options)
    return True


def kid_of(session: Any) -> str:
    return str(jwt.get_unverified_header(session.access_token)["kid"])


@pytest.fixture
async def rotating(mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Keys of its own."""
    async with playing(settings(mongo_url, valkey_url, tmp_path)) as playing_stage:
        yield playing_stage


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_stays_for_its_tokens(
    rotating: Stage,
) -> None:
    stage, keys = rotating, rotating.built.ask.keys
    user = await new_user(stage)
    before = await login(stage, user.username)
    made = await keys.rotate(stage.clock())
    waits = (made.signs_from - stage.clock()).total_seconds()
    # The gateway keeps what it fetched for a minute, a replica meets the key within a round of the sweeper.
    assert waits > 60 + stage.settings.sweep_seconds
    assert set(await published(stage)) == {kid_of(before), made.kid}

    stage.clock.advance(seconds=waits - 1)
    last = await login(stage, user.username)
    assert kid_of(last) == kid_of(before)
    stage.clock.advance(seconds=1)
    after = await login(stage, user.username)
    assert kid_of(after) == made.kid

    # The last token of the old key verifies for as long as it lives.
    stage.clock.advance(seconds=last.expires_in)
    await keys.drop_ended(stage.clock())
    assert await verifies(stage, last)
    assert await verifies(stage, after)
    stage.clock.advance(seconds=stage.settings.key_publish_seconds)
    assert set(await published(stage)) == {made.kid}
    await keys.drop_ended(stage.clock())
    assert [key.state for key in keys.standings(stage.clock())] == [KeyState.SIGNING]
    assert kid_of(await refresh(stage, after)) == made.kid


async def test_a_key_stays_for_a_token_that_lives_longer_than_others(rotating: Stage) -> None:
    stage, keys = rotating, rotating.built.ask.keys
    old = keys.signing(stage.clock()).kid
    tomorrow = stage.clock.now.replace(microsecond=0) + stage.settings.session_lives
    await keys.keep_until(tomorrow, stage.clock())
    made = await keys.rotate(stage.clock())
    stage.clock.now = tomorrow
    stage.clock.advance(seconds=-1)
    await keys.drop_ended(stage.clock())
    assert set(await published(stage)) == {old, made.kid}
    stage.clock.advance(seconds=1)
    await keys.drop_ended(stage.clock())
    assert set(await published(stage)) == {made.kid}


async def test_keys_wait_one_after_the_other(rotating: Stage) -> None:
    keys, clock = rotating.built.ask.keys, rotating.clock
    outcomes = await asyncio.gather(*(keys.rotate(clock()) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(outcome, SigningKeyWaiting) for outcome in outcomes) == 4
    clock.advance(seconds=rotating.settings.key_publish_seconds)
    await keys.rotate(clock())
    assert [key.state for key in keys.standings(clock())] == [
        KeyState.VERIFYING,
        KeyState.SIGNING,
        KeyState.WAITING,
    ]


async def test_a_restart_in_the_middle_of_a_rotation_goes_on_with_the_same_keys(
    mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    chosen = settings(mongo_url, valkey_url, tmp_path)
    async with playing(chosen) as first:
        session = await login(first, (await new_user(first)).username)
        made = await first.built.ask.keys.rotate(first.clock())
    async with playing(chosen) as second:
        assert await verifies(second, session)
        second.clock.advance(seconds=chosen.key_publish_seconds + 1)
        assert kid_of(await refresh(second, session)) == made.kid


async def test_an_operator_rotates_and_lists_the_keys(rotating: Stage) -> None:
    old = rotating.built.ask.keys.signing(rotating.clock()).kid
    rotated = json.loads(await command_line(rotating, "keys", "rotate", "--json"))
    assert rotated["state"] == "waiting"
    found = json.loads(await command_line(rotating, "keys", "list", "--json"))["keys"]
    assert [(key["kid"], key["state"]) for key in found] == [(old, "signing"), (rotated["kid"], "waiting")]
    assert found[0]["ends_at"] > rotated["signs_from"]
    # The running service meets the key in the sweeper's next round.
    await rotating.built.ask.keys.drop_ended(rotating.clock())
    assert set(await published(rotating)) == {old, rotated["kid"]}


async def command_line(stage: Stage, *arguments: str) -> str:
    chosen = stage.settings
    environment = {
        "AUTH_MONGO_URL": chosen.mongo_url,
        "AUTH_VALKEY_URL": str(chosen.valkey_url),
        "AUTH_DATABASE": chosen.database,
        "AUTH_KEY_FILE": str(chosen.key_file),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.auth.cli", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await run.communicate()
    assert run.returncode == 0, complaint.decode()
    return said.decode()
