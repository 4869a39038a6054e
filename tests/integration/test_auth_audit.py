"""The audit log: who did what to whom, written before it is done, and never changed."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError

from newvisions.auth.v1 import admin_service_pb2 as pb
from newvisions.auth.v1 import api_key_service_pb2 as key_pb
from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from services.auth.domain.audit import Actor, AuditEntry
from services.auth.mongo import open_database
from services.auth.mongo.audit import MongoAudit
from tests.integration.auth_channel import (
    ADMIN,
    Auth,
    environment,
    new_user,
    serving,
    signed_in,
)
from tests.integration.test_auth_service import refused


@pytest.fixture(scope="module")
def variables(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
async def stage(variables: dict[str, str]) -> AsyncIterator[Auth]:
    async with serving(variables) as auth:
        yield auth


async def entries(stage: Auth, count: int = 100) -> list[Any]:
    request = pb.ListAuditEntriesRequest(page_size=count)
    return list((await stage.admin.ListAuditEntries(request, metadata=ADMIN)).entries)


async def update(stage: Auth, user_id: str, **changes: Any) -> None:
    await stage.admin.UpdateUser(pb.UpdateUserRequest(user_id=user_id, **changes), metadata=ADMIN)


async def test_an_entry_says_who_did_what_to_whom_and_under_which_request(stage: Auth) -> None:
    user = await new_user(stage)
    await update(stage, user.user_id, roles=["operator"], limit=9)
    (entry,) = await entries(stage, 1)
    told = dict(ADMIN)
    assert (entry.actor, entry.request_id) == (told["x-user-id"], told["x-request-id"])
    assert (entry.action, entry.subject) == ("user_updated", user.user_id)
    assert dict(entry.detail) == {
        "roles_before": "user",
        "roles_after": "user operator",
        "monthly_limit_before": "",
        "monthly_limit_after": "9",
    }
    assert abs(entry.at.ToDatetime(tzinfo=UTC) - datetime.now(UTC)).total_seconds() < 60


async def test_a_change_that_changes_nothing_leaves_no_entry(stage: Auth) -> None:
    user = await new_user(stage)
    await update(stage, user.user_id, roles=["user"], disabled=False)
    assert user.user_id not in {entry.subject for entry in await entries(stage)}


async def test_every_change_by_an_administrator_leaves_an_entry(stage: Auth) -> None:
    user = await new_user(stage)
    codes = auth_pb.CreateActivationCodesRequest(count=2)
    (code, _) = (await stage.auth.CreateActivationCodes(codes, metadata=ADMIN)).codes
    await stage.admin.RevokeActivationCode(pb.RevokeActivationCodeRequest(code=code), metadata=ADMIN)
    adjustment = pb.AdjustCreditsRequest(
        user_id=user.user_id, amount=-5, reason="paid twice", adjustment_id=str(uuid4())
    )
    await stage.admin.AdjustCredits(adjustment, metadata=ADMIN)
    adjusted, revoked, created = await entries(stage, 3)
    assert (created.action, created.detail["count"]) == ("codes_created", "2")
    listed = await stage.admin.ListActivationCodes(pb.ListActivationCodesRequest(), metadata=ADMIN)
    assert created.subject in {each.batch_id for each in listed.codes}
    assert (revoked.action, revoked.subject) == ("code_revoked", code)
    assert (adjusted.action, adjusted.subject) == ("credits_adjusted", user.user_id)
    assert (adjusted.detail["amount"], adjusted.detail["reason"]) == ("-5", "paid twice")


async def test_an_adjustment_is_one_entry_however_often_it_is_asked(stage: Auth) -> None:
    user = await new_user(stage)
    adjustment = pb.AdjustCreditsRequest(
        user_id=user.user_id, amount=5, reason="a gift", adjustment_id=str(uuid4())
    )
    for _ in range(3):
        await stage.admin.AdjustCredits(adjustment, metadata=ADMIN)
    written = [entry.action for entry in await entries(stage) if entry.subject == user.user_id]
    assert written == ["credits_adjusted"]
    adjustment.amount = 6
    error = await refused(stage.admin.AdjustCredits(adjustment, metadata=ADMIN))
    assert (error.error, error.http_status) == ("ADJUSTMENT_ID_REUSED", 409)


async def test_settings_changed_for_somebody_else_are_on_record_and_ones_own_are_not(stage: Auth) -> None:
    user = await new_user(stage)
    before = await entries(stage, 1)
    wanted = auth_pb.UpdateSettingsRequest(settings=auth_pb.Settings(voice_stability=7))
    await stage.auth.UpdateSettings(wanted, metadata=signed_in(user.user_id))
    assert await entries(stage, 1) == before
    wanted.user_id = user.user_id
    await stage.auth.UpdateSettings(wanted, metadata=ADMIN)
    (entry,) = await entries(stage, 1)
    assert (entry.action, entry.subject) == ("settings_changed", user.user_id)
    assert entry.detail["settings"] == "voice_stability"


async def test_a_change_that_fails_is_told_as_such(stage: Auth) -> None:
    unknown = f"x{uuid4().hex[:10]}"
    call = stage.admin.RevokeActivationCode(pb.RevokeActivationCodeRequest(code=unknown), metadata=ADMIN)
    assert (await refused(call)).http_status == 404
    failed, begun = await entries(stage, 2)
    assert (begun.action, begun.subject) == ("code_revoked", unknown)
    assert (failed.action, failed.subject) == ("code_revoked_failed", unknown)
    assert dict(failed.detail) == {"entry": begun.id, "cause": "ACTIVATION_CODE_NOT_FOUND"}


async def test_entries_are_paged_newest_first_and_each_once(stage: Auth) -> None:
    user = await new_user(stage)
    for limit in range(5):
        await update(stage, user.user_id, limit=limit)
    every = [entry.id for entry in await entries(stage)]
    paged: list[str] = []
    token = ""
    while len(paged) < 5:
        request = pb.ListAuditEntriesRequest(page_size=2, page_token=token)
        page = await stage.admin.ListAuditEntries(request, metadata=ADMIN)
        paged += [entry.id for entry in page.entries]
        token = page.next_page_token
    assert paged == every[: len(paged)]


async def test_no_entry_tells_a_secret(stage: Auth) -> None:
    user = await new_user(stage)
    made = await stage.api_keys.CreateApiKey(
        key_pb.CreateApiKeyRequest(name="shop"), metadata=signed_in(user.user_id)
    )
    assert made.key
    await update(stage, user.user_id, disabled=True)
    assert await entries(stage)
    for entry in await entries(stage):
        assert not re.search(r"argon2|nvk_|nvr_|eyJ", str(entry))


def test_the_repository_can_add_and_read_and_nothing_else() -> None:
    offers = {name for name in vars(MongoAudit) if not name.startswith("_")}
    assert offers == {"prepare", "insert", "page"}


def test_no_route_has_the_power_to_change_an_entry() -> None:
    routes = [
        (method.name, method.full_name)
        for module in (pb, auth_pb)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "audit" in method.name.lower()
    ]
    assert [name for name, _ in routes] == ["ListAuditEntries"]


async def test_what_is_in_the_log_stays_as_it_is_whatever_is_called(
    stage: Auth, variables: dict[str, str]
) -> None:
    """Every call of the administration, with an entry's own id wherever an id goes."""
    user = await new_user(stage)
    await update(stage, user.user_id, limit=3)
    async with AsyncMongoClient[dict[str, Any]](variables["AUTH_MONGO_URL"]) as client:
        log = client[variables["AUTH_DATABASE"]]["audit_log"]
        before = {each["_id"]: each async for each in log.find()}
        for entry_id in list(before)[:3]:
            await stage.admin.ListUsers(pb.ListUsersRequest(named=entry_id), metadata=ADMIN)
            for call, request in (
                (stage.admin.UpdateUser, pb.UpdateUserRequest(user_id=entry_id, disabled=True)),
                (stage.admin.RevokeActivationCode, pb.RevokeActivationCodeRequest(code=entry_id)),
                (
                    stage.admin.AdjustCredits,
                    pb.AdjustCreditsRequest(
                        user_id=entry_id, amount=1, reason="because", adjustment_id=entry_id
                    ),
                ),
            ):
                assert (await refused(call(request, metadata=ADMIN))).http_status == 404
        after = {each["_id"]: each async for each in log.find()}
    assert before.items() <= after.items()


async def test_an_entry_cannot_be_written_twice(mongo_url: str) -> None:
    async with open_database(mongo_url, f"auth_audit_{uuid4().hex}", 4) as database:
        entry = AuditEntry(
            str(uuid4()), datetime(2026, 1, 1, tzinfo=UTC), Actor("ada"), "user_updated", "eve"
        )
        await database.audit.insert(entry)
        other = AuditEntry(entry.entry_id, entry.at, Actor("mallory"), "user_updated", "eve")
        with pytest.raises(DuplicateKeyError):
            await database.audit.insert(other)
        assert await database.audit.page(None, 10) == [entry]


async def test_operators_and_users_do_not_read_the_log(stage: Auth) -> None:
    for roles in ("user", "user operator"):
        call = stage.admin.ListAuditEntries(
            pb.ListAuditEntriesRequest(), metadata=signed_in(str(uuid4()), roles)
        )
        assert (await refused(call)).error == "ADMIN_REQUIRED"
