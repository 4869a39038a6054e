"""Exporting an account, and removing what has been kept for long enough."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import api_key_service_pb2 as key_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.kernel.clock import clock
from tests.integration.auth_channel import PASSWORD, new_admin, new_user, signed_in
from tests.integration.auth_clock_stage import refused
from tests.integration.auth_erasure_stage import PATIENCE, Stage, open_stage


@pytest.fixture
async def stage(mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(mongo_url, valkey_url, tmp_path) as stage:
        yield stage


async def test_an_export_holds_all_that_is_kept(stage: Stage) -> None:
    user = await stage.lived()
    stage.away.performances.pages[user.user_id] = 3
    asked = account_pb.ExportAccountRequest(user_id="me")
    answer = await stage.auth.account.ExportAccount(asked, metadata=signed_in(user.user_id))
    told = MessageToDict(answer)
    assert (told["account"]["username"], told["account"]["email"]) == (user.username, user.email)
    assert told["settings"]["voice_note_name"] == "Ana's walk"
    assert told["voice"]["sample"]["consent"] == "I agree."
    assert told["voice"]["source"] == f"/v1/users/{user.user_id}/voice/source.mp3"
    assert [each["audio"] for each in told["recordings"]] == [
        f"/v1/recordings/recording-{page}/audio" for page in range(3)
    ]
    assert sorted(each["credits"] for each in told["credits"]) == [-7, 90, 99]
    assert [len(told["sessions"]), told["apiKeys" if "apiKeys" in told else "api_keys"][0]["name"]] == [
        1,
        "studio",
    ]
    assert told["complete"] is True
    assert PASSWORD not in str(told)


async def test_an_export_is_whole_or_fails(stage: Stage) -> None:
    user = await new_user(stage.auth)
    await stage.away.stop("perform")
    asked = account_pb.ExportAccountRequest(user_id="me")
    call = stage.auth.account.ExportAccount(asked, metadata=signed_in(user.user_id))
    assert await refused(call) == ("SERVICE_UNAVAILABLE", 503)


async def enforce(stage: Stage, after: timedelta) -> None:
    await stage.everywhere.retention.enforce(stage.everywhere.erasures, clock() + after, PATIENCE)


async def test_ended_sessions_are_kept_for_a_week(stage: Stage) -> None:
    user = await new_user(stage.auth)
    await stage.login(user)
    live = await stage.login(user)
    await stage.auth.account.EndAllSessions(
        account_pb.EndAllSessionsRequest(), metadata=signed_in(user.user_id)
    )
    live = await stage.login(user)
    await enforce(stage, timedelta(days=6))
    assert len(await stage.documents("sessions")) == 3
    await enforce(stage, timedelta(days=8))
    assert len(await stage.documents("sessions")) == 1
    assert await stage.auth.auth.Refresh(pb.RefreshRequest(refresh_token=live.refresh_token))


async def test_audit_and_credit_entries_are_removed_when_they_are_old(stage: Stage) -> None:
    await stage.lived()
    await stage.archive()
    for days, collections in ((399, 1), (432, 0)):
        await enforce(stage, timedelta(days=days))
        for name in ("audit_log", "credit_months", "credit_entries"):
            assert bool(await stage.documents(name)) is bool(collections), (days, name)


async def test_an_account_that_nobody_used_for_a_year_is_erased(stage: Stage) -> None:
    unused, admin, recent = await stage.lived(), await new_admin(stage.auth), await new_user(stage.auth)
    async with AsyncMongoClient[dict[str, Any]](stage.variables["AUTH_MONGO_URL"]) as client:
        users = client[stage.variables["AUTH_DATABASE"]]["users"]
        next_week = datetime.now(UTC) + timedelta(days=7)
        await users.update_one({"_id": recent.user_id}, {"$set": {"seen_at": next_week}})
    await enforce(stage, timedelta(days=364))
    assert unused.user_id in "".join(await stage.documents("users"))
    await enforce(stage, timedelta(days=366))
    kept = "".join(await stage.documents("users"))
    assert [each.user_id in kept for each in (unused, admin, recent)] == [False, True, True]
    assert stage.away.voices.erased == [unused.user_id]


async def test_a_key_in_use_keeps_its_account(stage: Stage) -> None:
    user = await new_user(stage.auth)
    key = await stage.auth.api_keys.CreateApiKey(
        key_pb.CreateApiKeyRequest(name="server"), metadata=signed_in(user.user_id)
    )
    async with AsyncMongoClient[dict[str, Any]](stage.variables["AUTH_MONGO_URL"]) as client:
        users = client[stage.variables["AUTH_DATABASE"]]["users"]
        long_ago = datetime.now(UTC) - timedelta(days=400)
        await users.update_one({"_id": user.user_id}, {"$set": {"seen_at": long_ago}})
    await stage.auth.api_keys.ExchangeApiKey(key_pb.ExchangeApiKeyRequest(key=key.key))
    await enforce(stage, timedelta(0))
    assert user.user_id in "".join(await stage.documents("users"))


async def test_signing_in_is_noted_once_a_day(stage: Stage) -> None:
    user = await new_user(stage.auth)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    async with AsyncMongoClient[dict[str, Any]](stage.variables["AUTH_MONGO_URL"], tz_aware=True) as client:
        users = client[stage.variables["AUTH_DATABASE"]]["users"]
        await users.update_one({"_id": user.user_id}, {"$set": {"seen_at": long_ago}})
        await stage.login(user)
        seen = (await users.find_one({"_id": user.user_id}))["seen_at"]  # type: ignore[index]
        assert seen > long_ago + timedelta(days=399)
        await stage.login(user)
        assert (await users.find_one({"_id": user.user_id}))["seen_at"] == seen  # type: ignore[index]
