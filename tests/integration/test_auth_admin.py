"""What administrators and operators may do to accounts; others may nothing of it."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from newvisions.auth.v1 import admin_service_pb2 as pb
from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from services.kernel.statuses import api_error
from tests.integration.auth_channel import (
    ADMIN,
    OPERATOR,
    PASSWORD,
    Auth,
    environment,
    new_admin,
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


@pytest.fixture
async def empty(mongo_url: str, valkey_url: str, tmp_path_factory: Any) -> AsyncIterator[Auth]:
    """A service without any user."""
    async with serving(environment(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as auth:
        yield auth


async def update(stage: Auth, user_id: str, metadata: Any = ADMIN, **changes: Any) -> Any:
    request = pb.UpdateUserRequest(user_id=user_id, **changes)
    return (await stage.admin.UpdateUser(request, metadata=metadata)).user


async def named(stage: Auth, name: str) -> list[Any]:
    request = pb.ListUsersRequest(named=name)
    return list((await stage.admin.ListUsers(request, metadata=OPERATOR)).users)


async def create_codes(stage: Auth, count: int) -> list[str]:
    request = auth_pb.CreateActivationCodesRequest(count=count)
    return list((await stage.auth.CreateActivationCodes(request, metadata=ADMIN)).codes)


async def login(stage: Auth, user: Any) -> Any:
    return await stage.auth.Login(auth_pb.LoginRequest(username=user.username, password=PASSWORD))


async def pages(call: Any, request: Any, what: str, *, size: int, count: int) -> list[Any]:
    """The first things of a list, page by page."""
    found: list[Any] = []
    token = ""
    while len(found) < count:
        page = await call(type(request)(page_size=size, page_token=token), metadata=ADMIN)
        things = list(getattr(page, what))
        assert len(things) <= size
        found += things
        token = page.next_page_token
        if not token:
            break
    return found


async def test_users_are_listed_newest_first_and_each_once(stage: Auth) -> None:
    made = [await new_user(stage) for _ in range(5)]
    found = await pages(stage.admin.ListUsers, pb.ListUsersRequest(), "users", size=2, count=5)
    assert [each.user_id for each in found[:5]] == [each.user_id for each in made[::-1]]
    every = await pages(stage.admin.ListUsers, pb.ListUsersRequest(), "users", size=3, count=10_000)
    ids = [each.user_id for each in every]
    assert len(ids) == len(set(ids))
    assert {each.user_id for each in made} <= set(ids)


async def test_a_page_token_of_somebody_elses_making_is_refused(stage: Auth) -> None:
    for token in ("?", "bm9uc2Vuc2U", "x" * 200):
        error = await refused(stage.admin.ListUsers(pb.ListUsersRequest(page_token=token), metadata=ADMIN))
        assert (error.error, error.http_status) == ("INVALID_PAGE_TOKEN", 400)


async def test_one_user_is_found_by_name_or_email_in_any_case(stage: Auth) -> None:
    user = await new_user(stage)
    for name in (user.username.upper(), user.email.upper()):
        (found,) = await named(stage, name)
        assert (found.user_id, found.email, list(found.roles)) == (user.user_id, user.email, ["user"])
        assert (found.disabled, found.monthly_limit, found.char_count) == (False, 4000, 0)
        assert found.created_at.seconds > 0
    assert await named(stage, "nobody-at-all") == []


async def test_roles_limit_and_plan_are_changed_where_given_and_stay_where_not(stage: Auth) -> None:
    user = await new_user(stage)
    assert list((await update(stage, user.user_id, roles=["operator"])).roles) == ["user", "operator"]
    changed = await update(stage, user.user_id, limit=7)
    assert (list(changed.roles), changed.monthly_limit) == (["user", "operator"], 7)
    assert (await update(stage, user.user_id, limit=0)).monthly_limit == 0
    assert list((await update(stage, user.user_id, roles=["user"])).roles) == ["user"]
    (found,) = await named(stage, user.username)
    assert (list(found.roles), found.monthly_limit) == (["user"], 0)
    session = await login(stage, user)
    assert session.access_token


async def test_an_unknown_plan_changes_nothing(stage: Auth) -> None:
    user = await new_user(stage)
    error = await refused(update(stage, user.user_id, plan="golden goose", limit=1))
    assert (error.error, error.http_status) == ("PLAN_UNKNOWN", 400)
    assert (await named(stage, user.username))[0].monthly_limit == 4000


async def test_a_known_plan_is_taken_up(stage: Auth) -> None:
    user = await new_user(stage)
    (before,) = await named(stage, user.username)
    assert before.plan
    assert (await update(stage, user.user_id, plan=before.plan)).plan == before.plan


async def test_a_user_that_is_not_there_cannot_be_changed(stage: Auth) -> None:
    error = await refused(update(stage, str(uuid4()), disabled=True))
    assert (error.error, error.http_status) == ("USER_NOT_FOUND", 404)


@pytest.mark.parametrize("broken", [{"roles": ["root"]}, {"roles": ["user", "user"]}, {"limit": -1}])
async def test_a_change_that_breaks_a_rule_changes_nothing(stage: Auth, broken: dict[str, Any]) -> None:
    user = await new_user(stage)
    assert (await refused(update(stage, user.user_id, **broken))).error == "INVALID_REQUEST"
    (found,) = await named(stage, user.username)
    assert (list(found.roles), found.monthly_limit) == (["user"], 4000)


async def test_a_disabled_user_is_out_and_an_enabled_one_logs_in_anew(stage: Auth) -> None:
    user = await new_user(stage)
    session = await login(stage, user)
    assert (await update(stage, user.user_id, disabled=True)).disabled
    assert (await refused(login(stage, user))).error == "CREDENTIALS_INVALID"
    refresh = auth_pb.RefreshRequest(refresh_token=session.refresh_token)
    assert (await refused(stage.auth.Refresh(refresh))).error == "REFRESH_TOKEN_INVALID"
    assert not (await update(stage, user.user_id, disabled=False)).disabled
    # What ended stays ended.
    assert (await refused(stage.auth.Refresh(refresh))).error == "REFRESH_TOKEN_INVALID"
    assert await login(stage, user)


@pytest.mark.parametrize("change", [{"roles": ["user"]}, {"disabled": True}])
async def test_the_last_administrator_stays_one(empty: Auth, change: dict[str, Any]) -> None:
    admin = await new_admin(empty)
    error = await refused(update(empty, admin.user_id, **change))
    assert (error.error, error.http_status) == ("LAST_ADMIN", 409)
    (found,) = await named(empty, admin.username)
    assert (list(found.roles), found.disabled) == (["user", "admin"], False)
    other = await new_admin(empty)
    await update(empty, admin.user_id, **change)
    assert (await refused(update(empty, other.user_id, **change))).error == "LAST_ADMIN"


async def test_administrators_who_remove_each_other_at_once_do_not_all_go(empty: Auth) -> None:
    admins = [await new_admin(empty) for _ in range(4)]
    outcomes = await asyncio.gather(
        *(update(empty, admin.user_id, roles=["user"]) for admin in admins), return_exceptions=True
    )
    errors = [api_error(outcome)[0] for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {error.error for error in errors if error} == {"LAST_ADMIN"}
    left = [user for admin in admins for user in await named(empty, admin.username) if "admin" in user.roles]
    assert left


async def test_codes_are_listed_with_who_used_which_when(stage: Auth) -> None:
    user = await new_user(stage)
    unused, revoked = await create_codes(stage, 2)
    await stage.admin.RevokeActivationCode(pb.RevokeActivationCodeRequest(code=revoked), metadata=ADMIN)
    listed = await pages(
        stage.admin.ListActivationCodes, pb.ListActivationCodesRequest(), "codes", size=2, count=3
    )
    found = {each.code: each for each in listed}
    assert (found[unused].state, found[revoked].state) == ("unused", "revoked")
    assert found[unused].batch_id == found[revoked].batch_id
    assert found[unused].expires_at.seconds > found[unused].created_at.seconds
    assert not found[unused].HasField("used_at")
    (used,) = [each for each in listed if each.used_by == user.user_id]
    assert used.state == "used"
    assert used.HasField("used_at")


async def test_a_batch_is_exported_as_csv(stage: Auth) -> None:
    codes = await create_codes(stage, 3)
    page = await stage.admin.ListActivationCodes(pb.ListActivationCodesRequest(page_size=1), metadata=ADMIN)
    request = pb.ExportActivationCodesRequest(batch_id=page.codes[0].batch_id)
    body = (await stage.admin.ExportActivationCodes(request, metadata=ADMIN)).body
    assert body.content_type.startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(body.data.decode())))
    assert {row["code"] for row in rows} == set(codes)
    assert {row["state"] for row in rows} == {"unused"}
    assert list(rows[0]) == ["code", "batch", "expires_at", "state", "used_by", "used_at"]
    missing = pb.ExportActivationCodesRequest(batch_id=str(uuid4()))
    assert (await refused(stage.admin.ExportActivationCodes(missing, metadata=ADMIN))).http_status == 404


async def test_a_revoked_code_makes_no_user_and_a_used_one_cannot_be_revoked(stage: Auth) -> None:
    (code,) = await create_codes(stage, 1)
    revoke = pb.RevokeActivationCodeRequest(code=code)
    for _ in range(2):
        await stage.admin.RevokeActivationCode(revoke, metadata=ADMIN)
    asked = auth_pb.RegisterRequest(
        username=f"u{uuid4().hex[:9]}", email="r@example.org", password=PASSWORD, activation_code=code
    )
    assert (await refused(stage.auth.Register(asked))).error == "ACTIVATION_CODE_INVALID"
    user = await new_user(stage)
    listed = await pages(
        stage.admin.ListActivationCodes, pb.ListActivationCodesRequest(), "codes", size=2, count=2
    )
    (used,) = [each for each in listed if each.used_by == user.user_id]
    again = pb.RevokeActivationCodeRequest(code=used.code)
    error = await refused(stage.admin.RevokeActivationCode(again, metadata=ADMIN))
    assert (error.error, error.http_status) == ("ACTIVATION_CODE_SPENT", 409)


async def test_credits_are_adjusted_once_for_each_id(stage: Auth) -> None:
    user = await new_user(stage)
    request = pb.AdjustCreditsRequest(
        user_id=user.user_id, amount=500, reason="a show was cancelled", adjustment_id=str(uuid4())
    )
    for _ in range(2):
        answer = await stage.admin.AdjustCredits(request, metadata=ADMIN)
        assert (answer.char_count, answer.monthly_limit) == (0, 4500)
    assert (await named(stage, user.username))[0].monthly_limit == 4500


async def test_an_administrator_is_me_here_as_everywhere(stage: Auth) -> None:
    admin = await new_admin(stage)
    as_admin = signed_in(admin.user_id, "user admin")
    assert (await update(stage, "me", as_admin, limit=77)).user_id == admin.user_id
    request = pb.AdjustCreditsRequest(
        user_id="me", amount=23, reason="a show was cancelled", adjustment_id=str(uuid4())
    )
    assert (await stage.admin.AdjustCredits(request, metadata=as_admin)).monthly_limit == 100


def calls() -> list[tuple[str, Any, bool]]:
    """Every call about administration, and whether it is for administrators only."""
    user_id, some = str(uuid4()), str(uuid4())
    return [
        ("ListUsers", pb.ListUsersRequest(), False),
        # Who knows an unused code and an email sets a new password.
        ("ListActivationCodes", pb.ListActivationCodesRequest(), True),
        ("ExportActivationCodes", pb.ExportActivationCodesRequest(batch_id=some), True),
        ("UpdateUser", pb.UpdateUserRequest(user_id=user_id, disabled=True), True),
        ("RevokeActivationCode", pb.RevokeActivationCodeRequest(code="x" * 11), True),
        (
            "AdjustCredits",
            pb.AdjustCreditsRequest(user_id=user_id, amount=1, reason="because", adjustment_id=some),
            True,
        ),
        # What administrators did is for administrators.
        ("ListAuditEntries", pb.ListAuditEntriesRequest(), True),
    ]


async def test_the_cases_above_are_all_calls_of_the_service() -> None:
    service = pb.DESCRIPTOR.services_by_name["AdminService"]
    assert {name for name, _, _ in calls()} == {method.name for method in service.methods}


@pytest.mark.parametrize("name", [name for name, _, _ in calls()])
async def test_users_and_keys_administer_nothing_and_operators_only_look(stage: Auth, name: str) -> None:
    (request, admins_only), *_ = [(request, only) for each, request, only in calls() if each == name]
    call = getattr(stage.admin, name)
    plain = await refused(call(request, metadata=signed_in(str(uuid4()))))
    assert plain.http_status == 403
    assert (await refused(call(request))).http_status == 401
    key = signed_in(str(uuid4()), "user admin", ("x-user-scopes", "perform recordings settings voice"))
    assert (await refused(call(request, metadata=key))).error == "SCOPE_MISSING"
    if admins_only:
        assert (await refused(call(request, metadata=OPERATOR))).error == "ADMIN_REQUIRED"
