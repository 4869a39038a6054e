"""The list of users, while users come and go."""

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import pytest

from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.domain.accounts import User
from services.auth.domain.erasure import Subject
from services.auth.usecases.administration import Administration, Subjects
from tests.integration.auth_clock_stage import Stage, new_user, playing, settings


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with playing(settings(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as playing_stage:
        yield playing_stage


class Leaving:
    """Users of whom one is erased as soon as the list has been read."""

    def __init__(self, stage: Stage, user_id: str) -> None:
        self._database = stage.built.database
        self._gone = Subject(user_id, str(uuid4()), str(uuid4()))
        self._now = stage.clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database.users, name)

    async def page(self, *asked: Any) -> list[User]:
        found = await self._database.users.page(*asked)
        await self._database.account_traces.erase(self._gone, self._now)
        return found


async def test_a_user_who_is_erased_meanwhile_does_not_spoil_the_list(stage: Stage) -> None:
    made = [await new_user(stage) for _ in range(3)]
    built, users = stage.built, cast(Any, Leaving(stage, made[1].user_id))
    on = Subjects(users, built.database.sessions, built.database.api_keys, built.ask.credits)
    found, _ = await Administration(on, built.ask.audit).users("", 100, stage.clock())
    assert {each.user.user_id for each in found} >= {user.user_id for user in made}


async def test_everybody_in_the_list_has_their_own_credits(stage: Stage) -> None:
    made = [await new_user(stage) for _ in range(3)]
    for number, user in enumerate(made[1:], start=1):
        performance = {"user_id": user.user_id, "performance_id": str(uuid4())}
        await stage.auth.ReserveCredits(pb.ReserveCreditsRequest(max_characters=50, **performance))
        await stage.auth.SettleCredits(pb.SettleCreditsRequest(characters=10 * number, **performance))
    found, _ = await stage.built.ask.administration.users("", 100, stage.clock())
    spent = {each.user.user_id: each.balance.used for each in found}
    assert [spent[user.user_id] for user in made] == [0, 10, 20]
