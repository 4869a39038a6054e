"""An activation code is good once, and tells its story to administrators."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import grpc
import pytest

from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.domain.codes import CodeState, CodeUse
from services.auth.domain.errors import (
    ActivationCodeNotFound,
    ActivationCodeSpent,
    CodeBatchNotFound,
    StorageUnavailable,
)
from services.auth.domain.paging import Place
from services.auth.domain.passwords import PasswordRules
from services.auth.usecases.registration import Application, Registrations
from services.kernel.statuses import api_error
from tests.integration.auth_clock_stage import (
    ADMIN,
    Stage,
    application,
    new_code,
    new_codes,
    new_user,
    playing,
    refused,
    reset,
    settings,
)

INVALID = ("ACTIVATION_CODE_INVALID", 400)


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with playing(settings(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as playing_stage:
        yield playing_stage


async def valid(stage: Stage, code: str) -> bool:
    asked = pb.VerifyActivationCodeRequest(code=code)
    return bool((await stage.auth.VerifyActivationCode(asked)).valid)


async def test_a_hundred_registrations_with_one_code_make_one_user(stage: Stage) -> None:
    code = await new_code(stage)
    outcomes = await asyncio.gather(
        *(stage.auth.Register(application(code)) for _ in range(100)), return_exceptions=True
    )
    made = [outcome for outcome in outcomes if isinstance(outcome, pb.RegisterResponse)]
    errors = [api_error(outcome)[0] for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(made) == 1
    assert len(errors) == 99
    assert {(error.error, error.http_status) for error in errors if error} == {INVALID}
    (record,) = await stage.built.database.codes.batch(
        (await stage.kept("activation_codes", code))["batch_id"]
    )
    assert (record.used_by, record.state(stage.clock())) == (made[0].user_id, CodeState.USED)


async def test_a_registration_and_a_reset_that_race_for_a_code_share_no_use(stage: Stage) -> None:
    user, code = await new_user(stage), await new_code(stage)
    calls = [stage.auth.Register(application(code)) for _ in range(10)]
    calls += [reset(stage, user.email, code, password=f"umbrella number {n}") for n in range(10)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes) == 1


async def test_a_code_tells_who_used_it_when_and_for_what(stage: Stage) -> None:
    made = await new_codes(stage, 3)
    registered = await stage.auth.Register(application(made.codes[0]))
    await reset(stage, registered.email, made.codes[1])
    found = {each.code: each for each in await stage.built.database.codes.batch(made.batch_id)}
    first, second, third = (found[code] for code in made.codes)
    assert (first.used_by, first.used_for, first.used_at) == (
        registered.user_id,
        CodeUse.REGISTRATION,
        stage.clock(),
    )
    assert (second.used_by, second.used_for) == (registered.user_id, CodeUse.PASSWORD_RESET)
    assert (third.used_by, third.used_for, third.used_at) == ("", None, None)
    assert {each.made_by for each in found.values()} == {dict(ADMIN)["x-user-id"]}


async def test_a_code_expires(stage: Stage) -> None:
    expires = stage.clock() + timedelta(days=1)
    asked = pb.CreateActivationCodesRequest(count=1)
    asked.expires_at.FromDatetime(expires)
    made = await stage.auth.CreateActivationCodes(asked, metadata=ADMIN)
    code = made.codes[0]
    assert await valid(stage, code)
    stage.clock.advance(days=1)
    assert not await valid(stage, code)
    assert await refused(stage.auth.Register(application(code))) == INVALID
    (record,) = await stage.built.database.codes.batch(made.batch_id)
    assert record.state(stage.clock()) is CodeState.EXPIRED
    assert record.state(expires - timedelta(seconds=1)) is CodeState.UNUSED


async def test_a_revoked_code_is_good_for_nothing(stage: Stage) -> None:
    codes, user = stage.built.database.codes, await new_user(stage)
    code = await new_code(stage)
    for _ in range(2):
        await codes.revoke(code, stage.clock())
    assert not await valid(stage, code)
    assert await refused(stage.auth.Register(application(code))) == INVALID
    assert await refused(reset(stage, user.email, code)) == INVALID


class Hiccup:
    """A store that fails in one call, before or after it did what it was asked."""

    def __init__(self, store: Any, call: str, *, done: bool) -> None:
        self._store, self._call, self._done = store, call, done

    def __getattr__(self, name: str) -> Any:
        return self._failing if name == self._call else getattr(self._store, name)

    async def _failing(self, *asked: Any) -> None:
        if self._done:
            await getattr(self._store, self._call)(*asked)
        raise StorageUnavailable("The account store does not answer right now.")


def registrations(stage: Stage, call: str, *, done: bool) -> Registrations:
    users, codes = stage.built.database.users, stage.built.database.codes
    passwords = stage.built.credentials.passwords
    rules = PasswordRules(frozenset())
    if call == "add":
        return Registrations(cast(Any, Hiccup(users, call, done=done)), codes, passwords, rules, uuid4)
    return Registrations(users, cast(Any, Hiccup(codes, call, done=done)), passwords, rules, uuid4)


def asked(code: str) -> Application:
    name = f"u{uuid4().hex[:12]}"
    return Application(name, f"{name}@example.org", "a tall hedgehog sings", code, 8)


@pytest.mark.parametrize(("call", "done"), [("claim", True), ("add", False)])
async def test_a_code_is_good_at_once_when_the_store_failed(stage: Stage, call: str, done: bool) -> None:
    code = await new_code(stage)
    with pytest.raises(StorageUnavailable):
        await registrations(stage, call, done=done).register(asked(code), stage.clock())
    assert await stage.auth.Register(application(code))


async def test_a_user_is_made_though_the_code_could_not_be_marked(stage: Stage) -> None:
    code = await new_code(stage)
    made = await registrations(stage, "mark_used", done=False).register(asked(code), stage.clock())
    there = await stage.built.database.users.made_by(code)
    assert there is not None
    assert there.user_id == made.user_id
    assert await refused(stage.auth.Register(application(code))) == INVALID


async def test_a_user_whose_answer_was_lost_keeps_the_code(stage: Stage) -> None:
    code = await new_code(stage)
    with pytest.raises(StorageUnavailable):
        await registrations(stage, "add", done=True).register(asked(code), stage.clock())
    assert await stage.built.database.users.made_by(code)
    assert await refused(stage.auth.Register(application(code))) == INVALID


async def test_only_unused_codes_can_be_revoked(stage: Stage) -> None:
    codes, code = stage.built.database.codes, await new_code(stage)
    await stage.auth.Register(application(code))
    with pytest.raises(ActivationCodeSpent):
        await codes.revoke(code, stage.clock())
    with pytest.raises(ActivationCodeNotFound):
        await codes.revoke("AAAAAAAAAAA", stage.clock())


async def test_a_code_in_the_middle_of_a_registration_cannot_be_revoked(stage: Stage) -> None:
    codes, code, now = stage.built.database.codes, await new_code(stage), stage.clock()
    assert await codes.claim(code, "somebody", now, now + timedelta(seconds=60))
    with pytest.raises(ActivationCodeSpent):
        await codes.revoke(code, now)
    await codes.revoke(code, now + timedelta(seconds=60))


async def test_a_list_of_codes_has_each_of_them_once_newest_first(stage: Stage) -> None:
    codes = stage.built.database.codes
    expected: list[set[str]] = []
    for _ in range(3):
        stage.clock.advance(seconds=1)
        expected.append(set((await new_codes(stage, 4)).codes))
    found: list[str] = []
    after: Place | None = None
    while len(found) < 12:
        page = await codes.page(after, 5)
        after = page[-1].place
        found += [each.code for each in page]
    batches = [set(found[start : start + 4]) for start in (0, 4, 8)]
    assert batches == expected[::-1]


async def test_an_unknown_batch_is_said_to_be_so(stage: Stage) -> None:
    with pytest.raises(CodeBatchNotFound):
        await stage.built.database.codes.batch("no such batch")
