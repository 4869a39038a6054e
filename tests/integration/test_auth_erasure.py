"""Erasing an account everywhere, whatever is away or dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import api_key_service_pb2 as key_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.domain.erasure import AskedBy, Erased, Subject
from services.auth.everywhere import erasures_of
from services.kernel.clock import clock
from services.kernel.statuses import api_error
from tests.integration.auth_channel import ADMIN, PASSWORD, new_admin, new_user, signed_in
from tests.integration.auth_clock_stage import refused
from tests.integration.auth_erasure_stage import PATIENCE, Stage, open_stage

AFTER_ALL_TOKENS = timedelta(hours=1)


@pytest.fixture
async def stage(mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(mongo_url, valkey_url, tmp_path) as stage:
        yield stage


async def test_what_is_erased_cannot_be_found_anywhere(stage: Stage) -> None:
    user = await stage.lived()
    await stage.archive()
    by_name = [user.user_id, user.username, user.email, "Ana's walk"]
    before = "".join(await stage.documents())
    assert all(trace in before for trace in by_name)
    erasure = await stage.erase(user)
    assert erasure.state == "done"
    for when in ("at once", "after the last look"):
        kept = "".join(await stage.documents())
        assert [trace for trace in by_name if trace in kept] == [], when
        await stage.resume(AFTER_ALL_TOKENS)


async def test_the_proof_says_what_was_erased_when_and_nothing_of_whom(stage: Stage) -> None:
    user = await stage.lived()
    stage.away.performances.pages[user.user_id] = 3
    erasure = await stage.erase(user)
    assert await stage.resume(AFTER_ALL_TOKENS) == 1
    proof = await stage.proof(erasure.erasure_id)
    erased = {name: step["erased"] for name, step in proof["steps"].items()}
    assert erased["account"] == {"accounts": 1, "sessions": 1, "api_keys": 1, "codes": 1}
    assert erased["voice"] == {"samples": 1}
    assert erased["perform"] == {"recordings": 300}
    assert erased["credits"]["months_anonymised"] == 1
    assert {step["done_at"] > proof["asked_at"] - timedelta(seconds=1) for step in proof["steps"].values()}
    assert proof["confirmed_at"] > proof["completed_at"]
    assert set(proof) == {
        *("_id", "reference", "asked_by", "asked_at", "steps", "completed_at", "confirmed_at"),
    }
    assert user.user_id not in str(proof)


async def test_no_answer_to_who_was_erased_is_kept_for_who_asks_again(stage: Stage) -> None:
    other = await stage.keyed()
    before = await stage.documents("answers")
    user = await stage.keyed()
    assert len(await stage.documents("answers")) == len(before) + 2
    erasure = await stage.erase(user)
    # Also that of the registration, when there was no user yet.
    assert await stage.documents("answers") == before
    assert (await stage.proof(erasure.erasure_id))["steps"]["answers"]["erased"] == {"answers": 2}
    assert other.user_id != user.user_id


async def test_an_erased_account_is_closed_and_its_names_are_free(stage: Stage) -> None:
    user = await stage.lived()
    session = await stage.login(user)
    key = await stage.auth.api_keys.CreateApiKey(
        key_pb.CreateApiKeyRequest(name="server"), metadata=signed_in(user.user_id)
    )
    await stage.erase(user)
    ended = [
        await refused(stage.login(user)),
        await refused(stage.auth.auth.Refresh(pb.RefreshRequest(refresh_token=session.refresh_token))),
        await refused(stage.auth.api_keys.ExchangeApiKey(key_pb.ExchangeApiKeyRequest(key=key.key))),
        await refused(stage.auth.auth.GetUser(pb.GetUserRequest(), metadata=signed_in(user.user_id))),
    ]
    assert ended == [
        ("CREDENTIALS_INVALID", 401),
        ("REFRESH_TOKEN_INVALID", 401),
        ("API_KEY_INVALID", 401),
        ("USER_NOT_FOUND", 404),
    ]
    codes = await stage.auth.auth.CreateActivationCodes(
        pb.CreateActivationCodesRequest(count=1), metadata=ADMIN
    )
    again = pb.RegisterRequest(
        username=user.username, email=user.email, password=PASSWORD, activation_code=codes.codes[0]
    )
    assert (await stage.auth.auth.Register(again)).user_id != user.user_id


@pytest.mark.parametrize("marked", [True, False], ids=["as usual", "when the mark was never made"])
async def test_the_code_of_an_erased_user_makes_no_other(stage: Stage, marked: bool) -> None:
    codes = await stage.auth.auth.CreateActivationCodes(
        pb.CreateActivationCodesRequest(count=1), metadata=ADMIN
    )
    name = f"u{uuid4().hex[:12]}"
    asked = pb.RegisterRequest(
        username=name, email=f"{name}@example.org", password=PASSWORD, activation_code=codes.codes[0]
    )
    user = await stage.auth.auth.Register(asked)
    if not marked:
        async with AsyncMongoClient[dict[str, Any]](stage.variables["AUTH_MONGO_URL"]) as client:
            kept = client[stage.variables["AUTH_DATABASE"]]["activation_codes"]
            crashed = {"$set": {"state": "unused"}, "$unset": {"used_by": "", "used_at": "", "used_for": ""}}
            await kept.update_one({"_id": codes.codes[0]}, crashed)
    await stage.erase(user)
    assert await refused(stage.auth.auth.Register(asked)) == ("ACTIVATION_CODE_INVALID", 400)


async def test_a_wrong_password_erases_nothing(stage: Stage) -> None:
    user = await stage.lived()
    before = await stage.documents("users")
    assert await refused(stage.erase(user, "not the password")) == ("CREDENTIALS_INVALID", 401)
    assert await stage.documents("users") == before
    assert stage.away.voices.erased == []
    assert await stage.login(user)


async def test_guessing_the_password_becomes_slow(stage: Stage) -> None:
    user = await new_user(stage.auth)
    outcomes = [await refused(stage.erase(user, f"guess number {number}")) for number in range(8)]
    assert outcomes[0] == ("CREDENTIALS_INVALID", 401)
    assert outcomes[-1][1] == 429


async def test_what_is_away_is_erased_when_it_is_back(stage: Stage) -> None:
    user = await stage.lived()
    stage.away.performances.pages[user.user_id] = 2
    await stage.away.stop("perform")
    erasure = await stage.erase(user)
    assert erasure.state == "pending"
    assert await refused(stage.login(user)) == ("CREDENTIALS_INVALID", 401)
    assert stage.away.voices.erased == [user.user_id]
    assert await stage.resume(timedelta(minutes=2)) == 1
    assert (await stage.erase(user)).state == "pending"
    await stage.away.start("perform")
    assert (await stage.erased_at_last(user)).erasure_id == erasure.erasure_id
    assert stage.away.performances.pages[user.user_id] == 0
    # What was done before was not done again.
    assert stage.away.voices.erased == [user.user_id]
    assert user.user_id not in "".join(await stage.documents())


async def test_the_service_itself_goes_on_when_a_peer_is_back(
    mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    often = {"AUTH_SWEEP_SECONDS": "0.1", "AUTH_ERASURE_RETRY_SECONDS": "0.1"}
    async with open_stage(mongo_url, valkey_url, tmp_path, **often) as stage:
        user = await stage.lived()
        await stage.away.stop("perform")
        assert (await stage.erase(user)).state == "pending"
        await stage.away.start("perform")
        async with asyncio.timeout(20):
            while (await stage.erase(user)).state == "pending":
                continue


async def test_an_upload_under_way_is_waited_for(stage: Stage) -> None:
    user, stage.away.voices.uploading = await new_user(stage.auth), 1
    erasure = await stage.erase(user)
    assert erasure.state == "pending"
    await stage.resume(timedelta(minutes=2))
    assert (await stage.erase(user)).state == "done"


async def test_an_erasure_that_nobody_took_further_is_taken_up_by_one_replica(stage: Stage) -> None:
    user = await stage.lived()
    stage.away.voices.uploading = 1
    await stage.erase(user)
    later = clock() + timedelta(minutes=2)
    rounds = (stage.everywhere.erasures.resume(later, PATIENCE) for _ in range(5))
    assert sum(await asyncio.gather(*rounds)) == 1
    assert (await stage.erase(user)).state == "done"


class PowerCut(Exception):
    """The process is gone: nothing in it can handle this."""


class Dying:
    async def erase(self, subject: Subject, now: datetime) -> Erased:
        raise PowerCut


@pytest.mark.parametrize("step", ["account", "voice", "perform", "content", "credits", "audit", "answers"])
async def test_a_process_that_dies_in_a_step_leaves_an_erasure_that_goes_on(stage: Stage, step: str) -> None:
    user = await stage.lived()
    holders = {**stage.everywhere.holders, step: Dying()}
    dying = erasures_of(stage.settings, stage.built.database, holders)
    with pytest.raises(PowerCut):
        await dying.begin(user.user_id, AskedBy.USER, clock(), PATIENCE)
    assert await stage.resume(timedelta(seconds=59)) == 0
    assert await stage.resume(timedelta(seconds=61)) == 1
    assert (await stage.erase(user)).state == "done"
    assert user.user_id not in "".join(await stage.documents())


async def test_asking_again_and_at_once_is_one_erasure(stage: Stage) -> None:
    user = await stage.lived()
    outcomes = await asyncio.gather(*(stage.erase(user) for _ in range(5)), return_exceptions=True)
    again = await stage.erase(user)
    ids = {each.erasure_id for each in outcomes if isinstance(each, account_pb.EraseAccountResponse)}
    assert ids == {again.erasure_id}
    assert again.state == "done"
    assert len(await stage.documents("erasures")) == 1


async def test_nothing_of_another_user_is_touched(stage: Stage) -> None:
    other, user = await stage.lived(), await stage.lived()
    before = [each for each in await stage.documents() if other.user_id in each]
    assert len(before) >= 5
    await stage.erase(user)
    await stage.resume(AFTER_ALL_TOKENS)
    assert [each for each in await stage.documents() if other.user_id in each] == before
    assert set(stage.away.voices.erased) == {user.user_id}
    assert await stage.login(other)


@pytest.mark.parametrize("archived", [False, True], ids=["still running", "archived"])
async def test_amounts_stay_under_a_pseudonym(stage: Stage, archived: bool) -> None:
    user = await stage.lived()
    if archived:
        await stage.archive()

    async def booked() -> tuple[int, int, list[int]]:
        async with AsyncMongoClient[dict[str, Any]](stage.variables["AUTH_MONGO_URL"]) as client:
            database = client[stage.variables["AUTH_DATABASE"]]
            (month,) = [each async for each in database["credit_months"].find()]
            kept = [*month["entries"].values(), *[each async for each in database["credit_entries"].find()]]
            return month["used"], month["committed"], sorted(entry["charged"] for entry in kept)

    before = await booked()
    assert before == (90, 90 - 7 + (0 if archived else 99), [-7, 0, 90])
    await stage.erase(user)
    assert await booked() == before


async def test_what_a_token_still_good_leaves_behind_goes_with_the_last_look(stage: Stage) -> None:
    user = await stage.lived()
    erasure = await stage.erase(user)
    late = pb.ReleaseCreditsRequest(user_id=user.user_id, performance_id=str(uuid4()))
    await stage.auth.auth.ReleaseCredits(late)
    assert user.user_id in "".join(await stage.documents())
    assert await stage.resume(timedelta(minutes=19)) == 0
    assert await stage.resume(timedelta(minutes=21)) == 1
    assert user.user_id not in "".join(await stage.documents())
    assert (await stage.proof(erasure.erasure_id))["confirmed_at"]
    assert stage.away.voices.erased == [user.user_id] * 2


async def test_an_administrator_erases_with_their_own_password_and_is_on_record(stage: Stage) -> None:
    user, admin = await stage.lived(), await new_admin(stage.auth)
    wrong = stage.erase(user, "the user's, perhaps", by=admin, roles="user admin")
    assert await refused(wrong) == ("CREDENTIALS_INVALID", 401)
    erasure = await stage.erase(user, by=admin, roles="user admin")
    assert (await stage.proof(erasure.erasure_id))["asked_by"] == "administrator"
    recorded = [each for each in await stage.documents("audit_log") if "account_erased" in each]
    assert len(recorded) == 1
    assert admin.user_id in recorded[0]
    assert f"erased:{erasure.erasure_id}" in recorded[0]


async def test_who_once_administered_leaves_no_trace_on_codes(stage: Stage) -> None:
    admin = await new_admin(stage.auth)
    codes, as_admin = pb.CreateActivationCodesRequest(count=1), signed_in(admin.user_id, "user admin")
    await stage.auth.auth.CreateActivationCodes(codes, metadata=as_admin)
    await new_admin(stage.auth)
    demotion = admin_pb.UpdateUserRequest(user_id=admin.user_id, roles=["user"])
    await stage.auth.admin.UpdateUser(demotion, metadata=ADMIN)
    assert (await stage.erase(admin)).state == "done"
    assert admin.user_id not in "".join(await stage.documents("activation_codes"))


async def test_the_last_administrator_stays(stage: Stage) -> None:
    admin = await new_admin(stage.auth)
    assert await refused(stage.erase(admin)) == ("LAST_ADMIN", 409)
    await new_admin(stage.auth)
    codes, as_admin = pb.CreateActivationCodesRequest(count=1), signed_in(admin.user_id, "user admin")
    await stage.auth.auth.CreateActivationCodes(codes, metadata=as_admin)
    assert (await stage.erase(admin)).state == "done"
    assert admin.user_id not in "".join(await stage.documents())


async def test_administrators_who_leave_at_once_do_not_all_go(stage: Stage) -> None:
    admins = [await new_admin(stage.auth) for _ in range(4)]
    demoted, *erased = admins
    demotion = admin_pb.UpdateUserRequest(user_id=demoted.user_id, roles=["user"])
    outcomes = await asyncio.gather(
        stage.auth.admin.UpdateUser(demotion, metadata=ADMIN),
        *(stage.erase(admin) for admin in erased),
        return_exceptions=True,
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    errors = [api_error(refusal)[0] for refusal in refusals]
    assert {error.error for error in errors if error} == {"LAST_ADMIN"}
    assert await stage.built.database.users.administrators(1)


async def test_nobody_erases_or_exports_somebody_else(stage: Stage) -> None:
    user, other = await new_user(stage.auth), await new_user(stage.auth)
    assert await refused(stage.erase(other, by=user)) == ("USER_NOT_FOUND", 404)
    asked = account_pb.ExportAccountRequest(user_id=other.user_id)
    call = stage.auth.account.ExportAccount(asked, metadata=signed_in(user.user_id))
    assert await refused(call) == ("USER_NOT_FOUND", 404)
