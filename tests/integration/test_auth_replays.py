"""What creates something gives the same answer to the same request under the same Idempotency-Key."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import api_key_service_pb2 as keys_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.kernel.statuses import api_error
from tests.integration.auth_channel import (
    ADMIN,
    PASSWORD,
    Auth,
    Metadata,
    environment,
    new_user,
    serving,
    signed_in,
)


@pytest.fixture(scope="module")
def variables(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
async def stage(variables: dict[str, str]) -> AsyncIterator[Auth]:
    async with serving(variables) as auth:
        yield auth


def under(key: str, who: Metadata = ()) -> Metadata:
    return (*who, ("idempotency-key", key))


async def refusal(call: Any) -> tuple[int, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error, _ = api_error(failure.value)
    assert error is not None, failure.value
    return error.http_status, error.error


async def code_of(stage: Auth) -> str:
    made = await stage.auth.CreateActivationCodes(pb.CreateActivationCodesRequest(count=1), metadata=ADMIN)
    return str(made.codes[0])


async def registration(stage: Auth, **changes: str) -> pb.RegisterRequest:
    name = f"u{uuid4().hex[:12]}"
    fields = {
        "username": name,
        "email": f"{name}@example.org",
        "password": PASSWORD,
        "activation_code": changes.pop("activation_code", "") or await code_of(stage),
    }
    return pb.RegisterRequest(**{**fields, **changes})


async def test_a_registration_whose_answer_was_lost_is_answered_again(stage: Auth) -> None:
    asked, key = await registration(stage), uuid4().hex
    first = await stage.auth.Register(asked, metadata=under(key))
    assert await stage.auth.Register(asked, metadata=under(key)) == first
    again = stage.auth.Register(asked, metadata=under(uuid4().hex))
    assert await refusal(again) == (400, "ACTIVATION_CODE_INVALID")


async def test_strangers_may_use_the_same_key(stage: Auth) -> None:
    key = uuid4().hex
    asked = [await registration(stage) for _ in range(2)]
    made = [await stage.auth.Register(each, metadata=under(key)) for each in asked]
    assert made[0].user_id != made[1].user_id
    assert await stage.auth.Register(asked[0], metadata=under(key)) == made[0]
    resets = [
        account_pb.ResetPasswordRequest(
            email=user.email, activation_code=await code_of(stage), new_password="a short lion whispers"
        )
        for user in made
    ]
    for _ in range(2):
        for reset in resets:
            await stage.account.ResetPassword(reset, metadata=under(key))


async def test_a_strangers_key_is_good_for_one_request_of_theirs(stage: Auth) -> None:
    asked, key = await registration(stage), uuid4().hex
    await stage.auth.Register(asked, metadata=under(key))
    asked.email = asked.email.upper()
    again = stage.auth.Register(asked, metadata=under(key))
    assert await refusal(again) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_registrations_at_once_are_one(stage: Auth) -> None:
    asked, key = await registration(stage), uuid4().hex
    answers = await asyncio.gather(*(stage.auth.Register(asked, metadata=under(key)) for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)


async def test_who_hung_up_in_the_middle_finds_one_user(stage: Auth) -> None:
    asked, key = await registration(stage), uuid4().hex
    call = stage.auth.Register(asked, metadata=under(key))
    await call.wait_for_connection()
    call.cancel()
    answer = await stage.auth.Register(asked, metadata=under(key))
    assert answer.username == asked.username
    assert await stage.auth.Register(asked, metadata=under(key)) == answer


async def test_codes_are_made_once(stage: Auth) -> None:
    asked, key = pb.CreateActivationCodesRequest(count=3), uuid4().hex
    first = await stage.auth.CreateActivationCodes(asked, metadata=under(key, ADMIN))
    again = await stage.auth.CreateActivationCodes(asked, metadata=under(key, ADMIN))
    assert len(first.codes) == 3
    assert list(again.codes) == list(first.codes)
    other = pb.CreateActivationCodesRequest(count=4)
    refused = stage.auth.CreateActivationCodes(other, metadata=under(key, ADMIN))
    assert await refusal(refused) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_an_api_key_is_shown_again_to_who_lost_it_and_lies_nowhere_in_clear(
    stage: Auth, variables: dict[str, str]
) -> None:
    me, key = signed_in((await new_user(stage)).user_id), uuid4().hex
    asked = keys_pb.CreateApiKeyRequest(name="shop")
    first = await stage.api_keys.CreateApiKey(asked, metadata=under(key, me))
    again = await stage.api_keys.CreateApiKey(asked, metadata=under(key, me))
    assert again == first
    listed = await stage.api_keys.ListApiKeys(keys_pb.ListApiKeysRequest(), metadata=me)
    assert len(listed.keys) == 1
    async with AsyncMongoClient[dict[str, Any]](variables["AUTH_MONGO_URL"]) as client:
        answers = client[variables["AUTH_DATABASE"]]["answers"]
        kept = "".join([str(each) async for each in answers.find()])
    assert kept
    for secret in (first.key, key, dict(me)["x-user-id"]):
        assert secret not in kept


async def test_a_password_is_reset_once_and_the_answer_given_again(stage: Auth) -> None:
    user, code, key = await new_user(stage), await code_of(stage), uuid4().hex
    asked = account_pb.ResetPasswordRequest(
        email=user.email, activation_code=code, new_password="a short lion whispers"
    )
    for _ in range(2):
        await stage.account.ResetPassword(asked, metadata=under(key))


async def test_credits_are_adjusted_once_and_the_answer_given_again(stage: Auth) -> None:
    user, key = await new_user(stage), uuid4().hex
    asked = admin_pb.AdjustCreditsRequest(
        user_id=user.user_id, amount=5, reason="a gift", adjustment_id=str(uuid4())
    )
    first = await stage.admin.AdjustCredits(asked, metadata=under(key, ADMIN))
    other = admin_pb.AdjustCreditsRequest(
        user_id=user.user_id, amount=7, reason="another gift", adjustment_id=str(uuid4())
    )
    await stage.admin.AdjustCredits(other, metadata=under(uuid4().hex, ADMIN))
    assert await stage.admin.AdjustCredits(asked, metadata=under(key, ADMIN)) == first
    refused = stage.admin.AdjustCredits(other, metadata=under(key, ADMIN))
    assert await refusal(refused) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_a_failure_gives_its_key_back(stage: Auth) -> None:
    code, key = await code_of(stage), uuid4().hex
    weak = await registration(stage, activation_code=code, password="password")
    assert await refusal(stage.auth.Register(weak, metadata=under(key))) == (400, "PASSWORD_BREACHED")
    good = await registration(stage, activation_code=code)
    assert (await stage.auth.Register(good, metadata=under(key))).username == good.username


async def test_a_key_belongs_to_one_user_and_one_method(stage: Auth) -> None:
    key, asked = uuid4().hex, keys_pb.CreateApiKeyRequest(name="shop")
    made = [
        await stage.api_keys.CreateApiKey(
            asked, metadata=under(key, signed_in((await new_user(stage)).user_id))
        )
        for _ in range(2)
    ]
    assert made[0].key != made[1].key
    await stage.auth.CreateActivationCodes(
        pb.CreateActivationCodesRequest(count=1), metadata=under(key, ADMIN)
    )


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_keys_that_are_none_are_refused(stage: Auth, key: str) -> None:
    call = stage.auth.Register(await registration(stage), metadata=under(key))
    assert await refusal(call) == (400, "IDEMPOTENCY_KEY_INVALID")
