"""Every operation of /v1/openapi.json, asked by seed as a user, an administrator, nobody and somebody else.

`./newvisions test tests/e2e/test_conformance.py --cases 100 --cases-seed 5` asks more.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from schemathesis import GenerationMode

from dev.performer import Performer, accepted
from dev.stack import Stack
from gateway.openapi import openapi
from tests import samples
from tests.e2e import conformance
from tests.e2e.conftest import GENEROUS
from tests.integration.gateway_envoy import ROOT

pytestmark = pytest.mark.slow
DOCUMENT = openapi(ROOT / "gen/edge.pb")
OPERATIONS = {operation.label: operation for operation in conformance.operations(DOCUMENT)}
USERS_OWN = [label for label in OPERATIONS if "{user_id}" in label and "/admin/" not in label]


@dataclass(frozen=True, slots=True)
class Place:
    """A stack of its own: guessing passwords makes signing in slow for everybody at this address."""

    url: str
    user: dict[str, str]
    user_id: str
    admin: dict[str, str]
    other: dict[str, str]


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    data = tmp_path_factory.mktemp("conformance")
    settings = {"CONTENT_MODELS": "offline"}
    async with Stack(data, engine="tone", limits=GENEROUS, environment=settings) as stack:
        first, second = await stack.activation_codes(2)
        async with (
            Performer.signed_up(stack.url, first) as user,
            Performer.signed_up(stack.url, second) as other,
        ):
            accepted(await user.upload(samples.speech()))
            yield Place(
                stack.url,
                {"authorization": user.http.headers["authorization"]},
                user.user_id,
                {"authorization": f"Bearer {await stack.admin_token()}"},
                {"authorization": other.http.headers["authorization"]},
            )


@pytest.fixture(scope="module")
def session():
    with requests.Session() as found:
        yield found


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"cases": request.config.getoption("cases"), "chance": request.config.getoption("cases_seed")}


@pytest.mark.parametrize("label", OPERATIONS)
async def test_an_operation_answers_as_it_is_described(
    place: Place, session: requests.Session, cases: dict[str, Any], label: str
) -> None:
    caller = place.admin if "/admin/" in label else place.user
    judged = await asyncio.to_thread(
        conformance.asked,
        OPERATIONS[label],
        place.url,
        session,
        headers=caller,
        judge=conformance.conforms,
        **cases,
    )
    assert judged


@pytest.mark.parametrize(
    "label", [label for label in OPERATIONS if OPERATIONS[label].definition.raw.get("security")]
)
async def test_nobody_is_let_in_whatever_they_send(
    place: Place, session: requests.Session, label: str
) -> None:
    def refused(_: conformance.AnyCase, answer: requests.Response) -> None:
        # What is malformed beyond recognition is refused before anybody asks who sent it.
        assert answer.status_code in {400, 401, 404, 413}, answer.text
        assert answer.status_code == 401 or answer.json()["error"] in {"INVALID_REQUEST", "ROUTE_NOT_FOUND"}
        conformance.assert_is_an_error(answer)

    asked: dict[str, Any] = {"headers": {}, "cases": 1, "chance": 1, "judge": refused}
    assert await asyncio.to_thread(
        conformance.asked, OPERATIONS[label], place.url, session, modes=(GenerationMode.POSITIVE,), **asked
    )


@pytest.mark.parametrize("label", USERS_OWN)
async def test_what_is_somebody_elses_does_not_exist(
    place: Place, session: requests.Session, label: str
) -> None:
    def not_there(_: conformance.AnyCase, answer: requests.Response) -> None:
        conformance.assert_is_an_error(answer)
        assert answer.status_code == 404, answer.text

    asked: dict[str, Any] = {"headers": place.other, "cases": 1, "chance": 1, "judge": not_there}
    assert await asyncio.to_thread(
        conformance.asked,
        OPERATIONS[label],
        place.url,
        session,
        path_parameters={"user_id": place.user_id},
        modes=(GenerationMode.POSITIVE,),
        **asked,
    )
