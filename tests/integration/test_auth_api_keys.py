"""API keys: shown once, kept as a hash, traded for short tokens that can do little."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import api_key_service_pb2 as pb
from services.auth.domain.api_keys import MOST_KEYS, SCOPES
from services.kernel.statuses import api_error
from tests.integration.auth_channel import ADMIN, Auth, Metadata, environment, new_user, serving, signed_in
from tests.integration.test_auth_service import refused


@pytest.fixture(scope="module")
def variables(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
async def stage(variables: dict[str, str]) -> AsyncIterator[Auth]:
    async with serving(variables) as auth:
        yield auth


async def somebody(stage: Auth) -> Metadata:
    return signed_in((await new_user(stage)).user_id)


async def create(stage: Auth, me: Metadata, **fields: Any) -> Any:
    return await stage.api_keys.CreateApiKey(
        pb.CreateApiKeyRequest(**{"name": "shop", **fields}), metadata=me
    )


async def listed(stage: Auth, me: Metadata) -> list[Any]:
    return list((await stage.api_keys.ListApiKeys(pb.ListApiKeysRequest(), metadata=me)).keys)


def exchange(stage: Auth, key: str) -> Any:
    return stage.api_keys.ExchangeApiKey(pb.ExchangeApiKeyRequest(key=key))


async def claims_of(stage: Auth, key: str) -> dict[str, Any]:
    token = (await exchange(stage, key)).access_token
    return dict(jwt.decode(token, options={"verify_signature": False}))


async def change_key(variables: dict[str, str], key_id: str, fields: dict[str, Any]) -> None:
    """As time would."""
    async with AsyncMongoClient[dict[str, Any]](variables["AUTH_MONGO_URL"]) as client:
        keys = client[variables["AUTH_DATABASE"]]["api_keys"]
        assert (await keys.update_one({"_id": key_id}, {"$set": fields})).matched_count == 1


async def test_a_key_is_traded_for_a_short_token_of_its_owner(stage: Auth) -> None:
    me = await somebody(stage)
    made = await create(stage, me, scopes=["recordings", "perform"])
    answer = await exchange(stage, made.key)
    assert answer.expires_in == 300
    claims = jwt.decode(answer.access_token, options={"verify_signature": False})
    assert claims["sub"] == dict(me)["x-user-id"]
    assert claims["scope"] == "perform recordings"
    assert claims["sid"] == made.id
    assert claims["exp"] - claims["iat"] == 300


async def test_a_key_without_named_scopes_has_all_of_them_and_never_none(stage: Auth) -> None:
    made = await create(stage, await somebody(stage))
    assert tuple(made.scopes) == SCOPES
    assert (await claims_of(stage, made.key))["scope"] == " ".join(SCOPES)


async def test_a_key_of_an_administrator_is_no_administrator(stage: Auth) -> None:
    user = await new_user(stage)
    promotion = admin_pb.UpdateUserRequest(user_id=user.user_id, roles=["user", "admin"])
    await stage.admin.UpdateUser(promotion, metadata=ADMIN)
    made = await create(stage, signed_in(user.user_id, "user admin"))
    assert (await claims_of(stage, made.key))["roles"] == "user"


async def test_a_token_of_no_session_makes_no_key(stage: Auth) -> None:
    me = (*await somebody(stage), ("x-session-id", str(uuid4())))
    error = await refused(create(stage, me))
    assert (error.error, error.http_status) == ("SESSION_ENDED", 401)


async def test_a_key_is_shown_once_and_kept_as_a_hash(stage: Auth, variables: dict[str, str]) -> None:
    me = await somebody(stage)
    made = await create(stage, me, name="web shop")
    assert made.key.startswith("nvk_")
    assert len(made.key) == 47
    (shown,) = await listed(stage, me)
    assert (shown.id, shown.name, shown.prefix) == (made.id, "web shop", made.key[:10])
    assert made.key not in str(shown)
    async with AsyncMongoClient[dict[str, Any]](variables["AUTH_MONGO_URL"]) as client:
        kept = await client[variables["AUTH_DATABASE"]]["api_keys"].find_one({"_id": made.id})
    assert kept is not None
    assert made.key[10:] not in json.dumps(kept, default=str)


async def test_no_two_keys_are_alike(stage: Auth) -> None:
    me = await somebody(stage)
    assert (await create(stage, me)).key != (await create(stage, me)).key


async def test_keys_are_listed_newest_first_to_their_owner_only(stage: Auth) -> None:
    me, other = await somebody(stage), await somebody(stage)
    names = ["first", "second", "third"]
    for name in names:
        await create(stage, me, name=name)
    assert [key.name for key in await listed(stage, me)] == names[::-1]
    assert await listed(stage, other) == []


async def test_keys_are_listed_page_by_page(stage: Auth) -> None:
    me, names = await somebody(stage), ["first", "second", "third", "fourth", "fifth"]
    made = [await create(stage, me, name=name) for name in names]
    first = await stage.api_keys.ListApiKeys(pb.ListApiKeysRequest(page_size=2), metadata=me)
    assert [key.name for key in first.keys] == ["fifth", "fourth"]
    # The very one that the next page begins after is gone, and a new one stands before it.
    await stage.api_keys.DeleteApiKey(pb.DeleteApiKeyRequest(key_id=made[3].id), metadata=me)
    await create(stage, me, name="sixth")
    request = pb.ListApiKeysRequest(page_size=3, page_token=first.next_page_token)
    rest = await stage.api_keys.ListApiKeys(request, metadata=me)
    assert ([key.name for key in rest.keys], rest.next_page_token) == (["third", "second", "first"], "")
    foreign = pb.ListApiKeysRequest(page_token="none of ours")
    error = await refused(stage.api_keys.ListApiKeys(foreign, metadata=me))
    assert (error.error, error.http_status) == ("INVALID_PAGE_TOKEN", 400)


async def test_the_last_use_is_noted_but_not_each_one(stage: Auth, variables: dict[str, str]) -> None:
    me = await somebody(stage)
    made = await create(stage, me)
    assert not (await listed(stage, me))[0].HasField("last_used_at")
    await exchange(stage, made.key)
    first = (await listed(stage, me))[0].last_used_at
    await exchange(stage, made.key)
    assert (await listed(stage, me))[0].last_used_at == first
    long_ago = datetime.now(UTC) - timedelta(minutes=6)
    await change_key(variables, made.id, {"last_used_at": long_ago})
    await exchange(stage, made.key)
    assert (await listed(stage, me))[0].last_used_at.ToDatetime(tzinfo=UTC) > long_ago


async def test_a_deleted_key_is_refused(stage: Auth) -> None:
    me = await somebody(stage)
    made = await create(stage, me)
    await stage.api_keys.DeleteApiKey(pb.DeleteApiKeyRequest(key_id=made.id), metadata=me)
    assert await listed(stage, me) == []
    error = await refused(exchange(stage, made.key))
    assert (error.error, error.http_status) == ("API_KEY_INVALID", 401)


async def test_nobody_deletes_the_key_of_another(stage: Auth) -> None:
    me, other = await somebody(stage), await somebody(stage)
    made = await create(stage, me)
    for key_id in (made.id, str(uuid4())):
        call = stage.api_keys.DeleteApiKey(pb.DeleteApiKeyRequest(key_id=key_id), metadata=other)
        error = await refused(call)
        assert (error.error, error.http_status) == ("API_KEY_NOT_FOUND", 404)
    assert await exchange(stage, made.key)


async def test_what_is_no_key_is_refused_like_a_deleted_one(stage: Auth) -> None:
    for text in ("nvk_" + "x" * 43, "nvk_", "anything"):
        error = await refused(exchange(stage, text))
        assert (error.error, error.http_status) == ("API_KEY_INVALID", 401)


async def test_a_key_ends_when_it_was_said_to(stage: Auth, variables: dict[str, str]) -> None:
    me = await somebody(stage)
    soon = Timestamp()
    soon.FromDatetime(datetime.now(UTC) + timedelta(seconds=100))
    made = await create(stage, me, expires_at=soon)
    # No token outlives its key.
    assert (await exchange(stage, made.key)).expires_in <= 100
    await change_key(variables, made.id, {"expires_at": datetime.now(UTC)})
    assert (await refused(exchange(stage, made.key))).error == "API_KEY_INVALID"
    assert await listed(stage, me) == []


async def test_an_end_that_has_passed_is_refused(stage: Auth) -> None:
    past = Timestamp()
    past.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    error = await refused(create(stage, await somebody(stage), expires_at=past))
    assert (error.error, error.http_status) == ("INVALID_REQUEST", 400)


@pytest.mark.parametrize(
    "broken",
    [{"name": ""}, {"name": "x" * 65}, {"scopes": ["admin"]}, {"scopes": ["voice", "voice"]}],
)
async def test_a_request_that_breaks_a_rule_makes_no_key(stage: Auth, broken: dict[str, Any]) -> None:
    me = await somebody(stage)
    assert (await refused(create(stage, me, **broken))).error == "INVALID_REQUEST"
    assert await listed(stage, me) == []


async def test_keys_of_a_disabled_user_are_refused_until_they_are_enabled(stage: Auth) -> None:
    user = await new_user(stage)
    made = await create(stage, signed_in(user.user_id))
    for disabled in (True, False):
        change = admin_pb.UpdateUserRequest(user_id=user.user_id, disabled=disabled)
        await stage.admin.UpdateUser(change, metadata=ADMIN)
        if disabled:
            assert (await refused(exchange(stage, made.key))).error == "API_KEY_INVALID"
    assert await exchange(stage, made.key)


async def test_thirty_keys_asked_for_at_once_are_twenty(stage: Auth, variables: dict[str, str]) -> None:
    me = await somebody(stage)
    outcomes = await asyncio.gather(*(create(stage, me) for _ in range(30)), return_exceptions=True)
    errors = [api_error(outcome)[0] for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {(error.error, error.http_status) for error in errors if error} == {("API_KEYS_EXHAUSTED", 409)}
    keys = await listed(stage, me)
    assert len(keys) == MOST_KEYS
    # One that has ended makes room.
    await change_key(variables, keys[3].id, {"expires_at": datetime.now(UTC)})
    assert await create(stage, me)
    assert (await refused(create(stage, me))).error == "API_KEYS_EXHAUSTED"


async def test_a_key_can_make_no_further_key(stage: Auth) -> None:
    user = await new_user(stage)
    within = signed_in(user.user_id, "user", ("x-user-scopes", " ".join(SCOPES)))
    error = await refused(create(stage, within))
    assert (error.error, error.http_status) == ("SCOPE_MISSING", 403)
