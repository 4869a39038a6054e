"""Plans, as their users and administrators meet them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from tests.integration.auth_channel import ADMIN, Auth, environment, new_user, serving, signed_in
from tests.integration.test_auth_service import refused

PLANS = {
    "default": "small",
    "plans": {
        "small": {"monthly_limit": 100},
        "fast": {"monthly_limit": 500, "cost_factors": {"eleven_v3": 0.1}},
        "dear": {"monthly_limit": 120, "cost_factors": {"eleven_v3": 3}},
    },
}


def write(path: Path, plans: Any) -> str:
    path.write_text(json.dumps(plans))
    return str(path)


@pytest.fixture(scope="module")
def variables(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("plans")
    plans = write(folder / "plans.json", PLANS)
    return environment(mongo_url, valkey_url, folder, AUTH_PLANS_FILE=plans)


@pytest.fixture(scope="module")
async def stage(variables: dict[str, str]) -> AsyncIterator[Auth]:
    async with serving(variables) as auth:
        yield auth


async def put_on(stage: Auth, user_id: str, plan: str) -> Any:
    request = admin_pb.UpdateUserRequest(user_id=user_id, plan=plan)
    return (await stage.admin.UpdateUser(request, metadata=ADMIN)).user


async def reserved(stage: Auth, user_id: str, characters: int, model: str = "eleven_v3") -> int:
    request = pb.ReserveCreditsRequest(
        user_id=user_id, performance_id=str(uuid4()), max_characters=characters, model=model
    )
    return int((await stage.auth.ReserveCredits(request)).reserved)


async def limit(stage: Auth, user_id: str) -> int:
    request = pb.GetUserMetaRequest(user_id=user_id)
    return int((await stage.auth.GetUserMeta(request, metadata=signed_in(user_id))).monthly_limit)


async def test_a_plan_decides_about_the_limit_and_the_prices_from_the_next_call_on(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    assert (await limit(stage, user), await reserved(stage, user, 80)) == (100, 80)
    assert (await refused(reserved(stage, user, 80))).error == "CREDITS_EXHAUSTED"
    changed = await put_on(stage, user, "fast")
    assert (changed.plan, changed.monthly_limit) == ("fast", 500)
    assert (await limit(stage, user), await reserved(stage, user, 80)) == (500, 8)


@pytest.mark.parametrize("model", ["", "elevenlabs"])
async def test_what_names_no_model_with_a_price_is_set_aside_at_the_highest(stage: Auth, model: str) -> None:
    user = (await new_user(stage)).user_id
    await put_on(stage, user, "dear")
    assert (await refused(reserved(stage, user, 41, model))).error == "CREDITS_EXHAUSTED"
    assert await reserved(stage, user, 20, model) == 60
    assert await reserved(stage, user, 60, "eleven_turbo_v2_5") == 30


async def test_a_plan_that_is_not_in_the_file_is_refused(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    assert (await refused(put_on(stage, user, "gold"))).error == "PLAN_UNKNOWN"
    assert await limit(stage, user) == 100


async def test_a_limit_of_their_own_counts_instead_of_the_plans(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    request = admin_pb.UpdateUserRequest(user_id=user, plan="fast", limit=7)
    await stage.admin.UpdateUser(request, metadata=ADMIN)
    assert (await limit(stage, user), await reserved(stage, user, 70)) == (7, 7)


async def test_a_limit_of_their_own_ends_and_the_plans_counts_again(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    await stage.admin.UpdateUser(admin_pb.UpdateUserRequest(user_id=user, limit=7), metadata=ADMIN)
    request = admin_pb.UpdateUserRequest(user_id=user, follow_plan=True)
    assert (await stage.admin.UpdateUser(request, metadata=ADMIN)).user.monthly_limit == 100
    assert (await limit(stage, user), await reserved(stage, user, 70)) == (100, 70)
    both = admin_pb.UpdateUserRequest(user_id=user, follow_plan=True, limit=9)
    assert (await refused(stage.admin.UpdateUser(both, metadata=ADMIN))).error == "INVALID_REQUEST"


async def test_a_smaller_plan_in_mid_month_leaves_what_is_set_aside_and_gives_no_more(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    await put_on(stage, user, "fast")
    assert await reserved(stage, user, 3000) == 300
    assert (await put_on(stage, user, "small")).monthly_limit == 100
    assert (await refused(reserved(stage, user, 1))).error == "CREDITS_EXHAUSTED"


async def test_users_of_a_plan_that_left_the_file_perform_on_with_the_common_one(
    stage: Auth, variables: dict[str, str], tmp_path: Path
) -> None:
    user = (await new_user(stage)).user_id
    await put_on(stage, user, "fast")
    fewer = write(tmp_path / "plans.json", {"default": "small", "plans": {"small": {"monthly_limit": 100}}})
    async with serving({**variables, "AUTH_PLANS_FILE": fewer}) as after:
        assert (await limit(after, user), await reserved(after, user, 10)) == (100, 10)
