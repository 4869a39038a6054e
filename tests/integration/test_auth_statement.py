"""The statement: what became of a user's credits, read over the real socket and from the real store."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest

from newvisions.auth.v1 import account_service_pb2 as pb
from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from services.auth.domain.credits import Entry, State, period_of
from services.auth.mongo import Database, open_database
from services.auth.usecases.statement import statement
from services.kernel.clock import clock
from services.kernel.statuses import api_error
from tests.integration.auth_channel import ADMIN, Auth, environment, new_user, serving, signed_in
from tests.integration.test_auth_service import refused

LIMIT = 4000


@pytest.fixture(scope="module")
def variables(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
async def stage(variables: dict[str, str]) -> AsyncIterator[Auth]:
    async with serving(variables) as auth:
        yield auth


@pytest.fixture(scope="module")
async def database(variables: dict[str, str], stage: Auth) -> AsyncIterator[Database]:
    """What the service keeps: for moments that have yet to come."""
    async with open_database(variables["AUTH_MONGO_URL"], variables["AUTH_DATABASE"], 8) as database:
        yield database


async def reserve(stage: Auth, user_id: str, characters: int, performance: str = "") -> str:
    performance = performance or str(uuid4())
    request = auth_pb.ReserveCreditsRequest(
        user_id=user_id, performance_id=performance, max_characters=characters
    )
    await stage.auth.ReserveCredits(request)
    return performance


async def settle(stage: Auth, user_id: str, performance: str, characters: int) -> Any:
    request = auth_pb.SettleCreditsRequest(
        user_id=user_id, performance_id=performance, characters=characters, model="eleven_v3"
    )
    return await stage.auth.SettleCredits(request)


async def release(stage: Auth, user_id: str, performance: str) -> None:
    await stage.auth.ReleaseCredits(
        auth_pb.ReleaseCreditsRequest(user_id=user_id, performance_id=performance)
    )


async def adjust(stage: Auth, user_id: str, amount: int, adjustment: str, reason: str = "a gift") -> Any:
    request = admin_pb.AdjustCreditsRequest(
        user_id=user_id, amount=amount, reason=reason, adjustment_id=adjustment
    )
    return await stage.admin.AdjustCredits(request, metadata=ADMIN)


async def meta(stage: Auth, user_id: str) -> Any:
    return await stage.auth.GetUserMeta(
        auth_pb.GetUserMetaRequest(user_id=user_id), metadata=signed_in(user_id)
    )


async def entries(stage: Auth, user_id: str, **asked: Any) -> Any:
    request = pb.ListCreditEntriesRequest(user_id=user_id, **asked)
    return await stage.account.ListCreditEntries(request, metadata=signed_in(user_id))


async def test_a_statement_tells_every_charge_reservation_and_adjustment_newest_first(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    assert list((await entries(stage, user)).entries) == []
    paid, lost, gift, fine = await reserve(stage, user, 100), str(uuid4()), str(uuid4()), str(uuid4())
    await settle(stage, user, paid, 60)
    await reserve(stage, user, 50, lost)
    await release(stage, user, lost)
    await adjust(stage, user, 500, gift, "a show was cancelled")
    await adjust(stage, user, -20, fine, "given twice")
    open_ = await reserve(stage, user, 70)
    said = (await entries(stage, user)).entries
    assert [(each.id, each.state, each.credits, each.reason) for each in said] == [
        (open_, "reserved", 70, ""),
        (fine, "adjusted", 20, "given twice"),
        (gift, "adjusted", -500, "a show was cancelled"),
        (lost, "released", 0, ""),
        (paid, "settled", 60, ""),
    ]
    assert {each.period for each in said} == {period_of(clock())}
    moments = [each.at.ToDatetime() for each in said]
    assert moments == sorted(moments, reverse=True)


async def test_what_is_charged_and_given_adds_up_to_what_the_month_says(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    for characters in (10, 20, 30):
        await settle(stage, user, await reserve(stage, user, 40), characters)
    await adjust(stage, user, 250, str(uuid4()))
    said, month = (await entries(stage, user)).entries, await meta(stage, user)
    charged = sum(each.credits for each in said if each.state == "settled")
    given = -sum(each.credits for each in said if each.state == "adjusted")
    assert (month.char_count, month.monthly_limit) == (charged, LIMIT + given) == (60, 4250)


async def test_pages_follow_one_another_while_entries_move_to_the_archive(
    stage: Auth, database: Database
) -> None:
    user = (await new_user(stage)).user_id
    for index in range(7):
        await settle(stage, user, await reserve(stage, user, 10), 1 + index)
        await adjust(stage, user, 1, str(uuid4()))
    every = [each.id for each in (await entries(stage, user, page_size=100)).entries]
    assert len(every) == 14

    seen, token, now = [], "", clock()
    while True:
        page, token = await statement(database.statement, user, token, 3, now)
        seen += [each.shown_id for each in page]
        if not token:
            break
        assert len(page) == 3
        # From the second page on all of it comes from the archive.
        await database.ledger.sweep(now + timedelta(hours=1))
    assert seen == every
    assert [each.id for each in (await entries(stage, user, page_size=100)).entries] == every


async def test_a_performance_heard_after_it_expired_stands_there_once(
    stage: Auth, database: Database
) -> None:
    user, now = (await new_user(stage)).user_id, clock()
    performance = await reserve(stage, user, 10)
    await database.ledger.sweep(now + timedelta(minutes=10))
    await database.ledger.sweep(now + timedelta(minutes=40))
    assert [each.state for each in (await entries(stage, user)).entries] == ["expired"]
    assert [each.credits for each in (await entries(stage, user)).entries] == [0]
    await settle(stage, user, performance, 9)
    said = (await entries(stage, user)).entries
    assert [(each.state, each.credits) for each in said] == [("settled", 9)]


async def test_a_statement_is_its_users_own(stage: Auth) -> None:
    user, other = (await new_user(stage)).user_id, (await new_user(stage)).user_id
    await reserve(stage, user, 10)
    # One id for many users is one adjustment for each of them.
    gift = str(uuid4())
    await asyncio.gather(adjust(stage, user, 5, gift), adjust(stage, other, 5, gift))
    request = pb.ListCreditEntriesRequest(user_id=user)
    error = await refused(stage.account.ListCreditEntries(request, metadata=signed_in(other)))
    assert error.error == "USER_NOT_FOUND"
    assert len((await stage.account.ListCreditEntries(request, metadata=ADMIN)).entries) == 2
    assert [each.id for each in (await entries(stage, other)).entries] == [gift]


async def test_an_unknown_user_has_no_statement(stage: Auth) -> None:
    request = pb.ListCreditEntriesRequest(user_id=str(uuid4()))
    error = await refused(stage.account.ListCreditEntries(request, metadata=ADMIN))
    assert (error.error, error.http_status) == ("USER_NOT_FOUND", 404)


async def test_a_token_that_is_not_ours_is_refused(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    error = await refused(entries(stage, user, page_token="elsewhere"))
    assert error.error == "INVALID_PAGE_TOKEN"


async def test_an_adjustment_happens_once_and_stands_for_one_thing(stage: Auth) -> None:
    user, gift = (await new_user(stage)).user_id, str(uuid4())
    answers = await asyncio.gather(*(adjust(stage, user, 300, gift) for _ in range(8)))
    assert {(each.char_count, each.monthly_limit) for each in answers} == {(0, LIMIT + 300)}
    for amount, reason in ((301, "a gift"), (300, "another gift")):
        error = await refused(adjust(stage, user, amount, gift, reason))
        assert error.error == "ADJUSTMENT_ID_REUSED"
    assert (await meta(stage, user)).monthly_limit == LIMIT + 300


async def test_credits_that_are_spent_or_set_aside_cannot_be_taken(stage: Auth) -> None:
    user = (await new_user(stage)).user_id
    await settle(stage, user, await reserve(stage, user, 1000), 1000)
    await reserve(stage, user, 500)
    assert (await refused(adjust(stage, user, -2501, str(uuid4())))).error == "CREDITS_SPENT"
    assert (await adjust(stage, user, -2500, str(uuid4()))).monthly_limit == 1500
    error = await refused(reserve(stage, user, 1))
    assert (error.error, (await meta(stage, user)).reserved_chars) == ("CREDITS_EXHAUSTED", 500)


async def perform(stage: Auth, user_id: str, index: int) -> str:
    """One of many performances; every third fails after it was paid for, every call may be repeated."""
    try:
        performance = await reserve(stage, user_id, 30)
    except grpc.aio.AioRpcError as failure:
        error, _ = api_error(failure)
        assert error is not None
        return str(error.error)
    if index % 3 == 0:
        await release(stage, user_id, performance)
        return "released"
    answers = await asyncio.gather(*(settle(stage, user_id, performance, 20) for _ in range(1 + index % 2)))
    assert {answer.charged for answer in answers} == {20}
    return "settled"


async def test_two_hundred_performances_at_once_near_the_limit_never_overshoot_and_lose_nothing(
    stage: Auth,
) -> None:
    user = (await new_user(stage)).user_id
    await adjust(stage, user, 1000 - LIMIT, str(uuid4()))
    done = Counter(await asyncio.gather(*(perform(stage, user, index) for index in range(200))))
    assert set(done) == {"settled", "released", "CREDITS_EXHAUSTED"}
    month = await meta(stage, user)
    assert month.char_count == 20 * done["settled"] <= 1000
    assert month.reserved_chars == 0
    # What is left can be had to the last credit, and no more.
    await reserve(stage, user, 1000 - month.char_count)
    assert (await refused(reserve(stage, user, 1))).error == "CREDITS_EXHAUSTED"


async def test_an_entry_of_the_archive_is_told_as_it_was_written(database: Database) -> None:
    user, now = str(uuid4()), clock()
    entry = Entry(str(uuid4()), user, period_of(now), State.RESERVED, 9, 0, "local", now, now)
    await database.ledger.reserve(entry, 100)
    before, _ = await statement(database.statement, user, "", 5, now)
    await database.ledger.sweep(now)
    expired, _ = await statement(database.statement, user, "", 5, now)
    await database.ledger.sweep(now + timedelta(hours=1))
    archived, _ = await statement(database.statement, user, "", 5, now + timedelta(hours=1))
    assert list(before) == [entry]
    assert [each.state for each in expired] == [State.EXPIRED]
    assert list(archived) == list(expired)
